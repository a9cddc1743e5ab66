//! Webhook endpoints and how their deliveries go.

use super::encoding::{Key, Span, decode};
use super::error::{ReadError, WriteError};
use super::rows::{Order, Rows, Tx, View, step};
use super::tables::{WEBHOOK_ENDPOINTS, WEBHOOK_HEALTH};
use crate::domain::id::EndpointId;
use crate::domain::webhook::{Endpoint, Health};

impl Tx<'_> {
    /// An endpoint by id, deleted or not.
    pub fn endpoint(&self, id: EndpointId) -> Result<Option<Endpoint>, WriteError> {
        Ok(endpoint(self, id)?)
    }

    /// Inserts or overwrites an endpoint; events that follow in the same transaction already see it.
    pub fn put_endpoint(&mut self, endpoint: &Endpoint) -> Result<(), WriteError> {
        self.batch.endpoints = None;
        self.put_json(WEBHOOK_ENDPOINTS, key(endpoint.id).as_slice(), endpoint)
    }

    /// How an endpoint's deliveries have gone.
    pub fn health(&self, id: EndpointId) -> Result<Health, WriteError> {
        Ok(health(self, id)?)
    }

    /// Overwrites how an endpoint's deliveries have gone.
    pub fn put_health(&mut self, id: EndpointId, health: &Health) -> Result<(), WriteError> {
        self.put_json(WEBHOOK_HEALTH, key(id).as_slice(), health)
    }

    /// The endpoints that take events, read once a transaction.
    pub(super) fn open_endpoints(&mut self) -> Result<Vec<Endpoint>, WriteError> {
        if let Some(known) = self.batch.endpoints.take() {
            return Ok(known);
        }
        let mut found = Vec::new();
        self.scan(WEBHOOK_ENDPOINTS, &Span::ALL, Order::Up, &mut |_, bytes| {
            let endpoint: Endpoint = decode(WEBHOOK_ENDPOINTS, bytes)?;
            if endpoint.takes_events() {
                found.push(endpoint);
            }
            Ok(step(true))
        })?;
        Ok(found)
    }
}

impl View<'_> {
    /// An endpoint by id, deleted or not.
    pub fn endpoint(&self, id: EndpointId) -> Result<Option<Endpoint>, ReadError> {
        endpoint(self, id)
    }

    /// How an endpoint's deliveries have gone.
    pub fn health(&self, id: EndpointId) -> Result<Health, ReadError> {
        health(self, id)
    }

    /// Endpoints that are not deleted and that `wanted` accepts, newest first, older than `before`.
    pub fn endpoints(
        &self,
        before: Option<EndpointId>,
        limit: usize,
        mut wanted: impl FnMut(&Endpoint) -> bool,
    ) -> Result<Vec<Endpoint>, ReadError> {
        let span = match before {
            Some(before) => Span::ALL.before(&key(before)),
            None => Span::ALL,
        };
        let mut endpoints = Vec::new();
        if limit > 0 {
            self.scan(WEBHOOK_ENDPOINTS, &span, Order::Down, &mut |_, bytes| {
                let endpoint: Endpoint = decode(WEBHOOK_ENDPOINTS, bytes)?;
                if endpoint.deleted_at.is_none() && wanted(&endpoint) {
                    endpoints.push(endpoint);
                }
                Ok(step(endpoints.len() < limit))
            })?;
        }
        Ok(endpoints)
    }
}

fn key(id: EndpointId) -> Key {
    Key::of_id(id.to_u128())
}

fn endpoint(rows: &impl Rows, id: EndpointId) -> Result<Option<Endpoint>, ReadError> {
    rows.get_json(WEBHOOK_ENDPOINTS, key(id).as_slice())
}

fn health(rows: &impl Rows, id: EndpointId) -> Result<Health, ReadError> {
    Ok(rows.get_json(WEBHOOK_HEALTH, key(id).as_slice())?.unwrap_or_default())
}
