//! A request that is refused, and why.

use axum::http::StatusCode;

use crate::{error::Told, model::ParseError};

/// A request that is refused. It goes through the daemon as an error, and comes out as an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(super) struct Refusal {
    /// What the answer's status is.
    pub(super) status: StatusCode,
    /// Why.
    pub(super) message: String,
    /// What helps.
    pub(super) hint: Option<String>,
    /// All of it, as a command tells it.
    pub(super) told: Option<Box<Told>>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), hint: None, told: None }
    }

    /// What was sent is no JSON, or no text.
    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// What was sent can be read, and does not make sense or cannot be done.
    pub(super) fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, message)
    }

    /// What a field has is not what it can have.
    pub(super) fn field(field: &str, error: &ParseError) -> Self {
        Self::unprocessable(format!("{field}: {error}"))
    }

    pub(super) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// The same, with what it is about before it.
    pub(super) fn of(self, what: &str) -> Self {
        Self { message: format!("{what}: {}", self.message), ..self }
    }
}
