//! Query parameters: each named once, none unknown to the reader's eye, numbers that are numbers.

use std::collections::BTreeMap;

use super::Refusal;

/// Digits of an international phone number.
const NUMBER_LENGTH: std::ops::RangeInclusive<usize> = 5..=15;

/// The parameters of one call.
pub(super) struct Parameters(BTreeMap<String, String>);

impl Parameters {
    /// Reads a query string; a name given twice is refused.
    pub(super) fn parse(query: &str) -> Result<Self, Refusal> {
        let mut parameters = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if parameters.insert(name.to_string(), value.into_owned()).is_some() {
                return Err(Refusal::bad(format!("`{name}` is given twice")));
            }
        }
        Ok(Self(parameters))
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// An optional text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A required text.
    pub(super) fn required(&self, name: &str) -> Result<&str, Refusal> {
        self.text(name)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| Refusal::bad(format!("the parameter `{name}` is missing")))
    }

    /// A required phone number.
    pub(super) fn number(&self, name: &str) -> Result<&str, Refusal> {
        phone_number(name, self.required(name)?)
    }

    /// A required whole number.
    pub(super) fn whole<T: std::str::FromStr>(&self, name: &str) -> Result<T, Refusal> {
        let value = self.required(name)?;
        value
            .parse()
            .map_err(|_| Refusal::bad(format!("`{name}` must be a whole number in range, not `{value}`")))
    }

    /// An optional yes or no.
    pub(super) fn flag(&self, name: &str, default: bool) -> Result<bool, Refusal> {
        match self.text(name) {
            None => Ok(default),
            Some("true" | "1" | "") => Ok(true),
            Some("false" | "0") => Ok(false),
            Some(other) => Err(Refusal::bad(format!("`{name}` must be true or false, not `{other}`"))),
        }
    }
}

/// Checks a phone number: digits only.
pub(super) fn phone_number<'a>(name: &str, value: &'a str) -> Result<&'a str, Refusal> {
    if NUMBER_LENGTH.contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_digit()) {
        Ok(value)
    } else {
        Err(Refusal::bad(format!(
            "`{name}` must be a phone number of 5 to 15 digits, without + or spaces"
        )))
    }
}
