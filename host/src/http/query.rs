//! What a request asks for behind the `?`.
//!
//! The rule: a parameter that is not known, or does not read, is refused with its name, why, and what may stand
//! there, so that whoever wrote the request need not look elsewhere.

use axum::{
    extract::{FromRequestParts, Query},
    http::{StatusCode, request::Parts},
};
use serde::de::DeserializeOwned;

use super::Problem;

/// The parameters of one route; the type refuses unknown ones.
pub trait Parameters: DeserializeOwned {
    /// Each with its form, for people: `limit=N (from 1 to 10000), store=S`.
    const FORM: &'static str;
}

/// Takes [`Parameters`] out of a request.
#[derive(Clone, Copy, Debug)]
pub struct Asked<T>(pub T);

impl<T: Parameters, S: Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match Query::<T>::try_from_uri(&parts.uri) {
            Ok(Query(asked)) => Ok(Self(asked)),
            Err(why) => {
                // It goes on with the parameter's name.
                let text = why.body_text();
                let why = text.split_once("query string: ").map_or(text.as_str(), |(_, why)| why);
                let detail = format!("the query does not read: {why}; possible: {}", T::FORM);
                Err(Problem::of_status(StatusCode::BAD_REQUEST, detail))
            }
        }
    }
}
