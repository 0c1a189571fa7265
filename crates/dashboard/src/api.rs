//! The description of `/api/v1`: each path answers with the tables of the page of the same path.

/// The description in the form of OpenAPI 3.1.
pub const OPENAPI: &str = include_str!("../assets/openapi.json");
