//! The part of a vCard that a gateway has use for.

/// The numbers: what stands behind the colon of each TEL line, also of grouped ones (`item1.TEL`).
pub(super) fn phones(vcard: &str) -> Vec<String> {
    vcard
        .lines()
        .filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            let name = name.split(';').next()?.rsplit('.').next()?;
            name.eq_ignore_ascii_case("TEL").then(|| value.trim().to_owned())
        })
        .filter(|number| !number.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::phones;

    #[test]
    fn the_numbers_are_found_however_the_card_is_written() {
        let card = "BEGIN:VCARD\r\nFN:Ana\r\nitem1.TEL;waid=5511:+55 11\r\ntel:123\r\nTEL:\r\nNOTE:tel: 9\r\nEND:VCARD";
        assert_eq!(phones(card), ["+55 11", "123"]);
        assert_eq!(phones("no card at all"), Vec::<String>::new());
    }
}
