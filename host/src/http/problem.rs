//! An error as an HTTP answer: a problem document (RFC 9457).
//!
//! The rule: `type` is what a program may compare, and never changes once it is out; `title` is
//! the same for every problem of a type; `detail` is for people, and says what to do. Secrets are
//! in none of them.

use axum::{
    http::{HeaderValue, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};

pub(super) const MEDIA_TYPE: &str = "application/problem+json";
const URN: &str = "urn:storemesh:problem:";

/// As an error it reads as its detail, since that is the line a person needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{}", if detail.is_empty() { title } else { detail })]
pub struct Problem {
    #[serde(rename = "type")]
    pub kind: String,
    pub title: String,
    pub status: u16,
    #[serde(default)]
    pub detail: String,
}

impl Problem {
    /// `slug` becomes `type`: `release-exists` is `urn:storemesh:problem:release-exists`.
    pub fn new(
        status: StatusCode,
        slug: &str,
        title: impl Into<String>,
        detail: impl Into<String>,
    ) -> Self {
        let kind = format!("{URN}{slug}");
        Self { kind, title: title.into(), status: status.as_u16(), detail: detail.into() }
    }

    /// A problem that the status alone describes: `not-found`, `method-not-allowed`.
    pub fn of_status(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        let slug = title.to_ascii_lowercase().replace(' ', "-");
        Self::new(status, &slug, title, detail)
    }

    /// What went wrong on our side; the chain goes to the log and not to whoever asked.
    pub fn internal(error: &anyhow::Error) -> Self {
        tracing::error!(error = %format!("{error:#}"), "a request failed");
        Self::of_status(StatusCode::INTERNAL_SERVER_ERROR, "see the log of the service")
    }

    /// Whether it is a problem of this kind.
    pub fn is(&self, slug: &str) -> bool {
        self.kind.strip_prefix(URN) == Some(slug)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, axum::Json(self)).into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        response
    }
}
