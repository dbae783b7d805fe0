//! Events: from the record to the operator's endpoints.

pub mod publisher;
