//! Who changed what.

use http::Method;

use super::{Access, Answer, Code, Parameter, Route, now, schema};
use crate::app::{App, Page, audit, instances};
use crate::domain::access::Scope;
use crate::domain::audit::{ActionFilter, Entry};
use crate::domain::error::Error;
use crate::domain::id::AuditId;
use crate::http::call::Call;
use crate::http::reply::Reply;
use crate::store::AuditFilter;

/// The audit list.
pub const LIST: Route = Route {
    method: Method::GET,
    path: "/v1/audit",
    id: "audit.list",
    summary: "Who changed what, newest first. Reading and sending messages are not changes and not listed",
    access: Access::Scope(Scope::KeysRead),
    query: &[
        Parameter {
            name: "limit",
            what: "How many items, 1 to 100; 50 when left out",
        },
        Parameter {
            name: "cursor",
            what: "next_cursor of the page before",
        },
        Parameter {
            name: "action",
            what: "One action, such as keys.create, or all that begin alike, such as instances.",
        },
        Parameter {
            name: "instance_id",
            what: "About one instance, deleted or not",
        },
    ],
    body: None,
    answer: Answer::Ok(schema::<Page<Entry>>),
    errors: &[Code::InstanceScopedKey, Code::InstanceNotFound],
    handler: |app, call| now(list(&app, &call)),
};

fn list(app: &App, call: &Call) -> Result<Reply, Error> {
    let (before, limit) = call.page(AuditId::parse)?;
    let action = call.query("action").map(|text| {
        ActionFilter::parse(text).ok_or_else(|| {
            Error::invalid(
                "query.action",
                "must be an action, such as keys.create, or the beginning of some with its dot, such as instances.",
            )
        })
    });
    let filter = AuditFilter {
        action: action.transpose()?,
        instance_id: call.query("instance_id").map(instances::parse_id).transpose()?,
    };
    Ok(Reply::ok(&audit::list(app, &call.caller, &filter, before, limit)?))
}
