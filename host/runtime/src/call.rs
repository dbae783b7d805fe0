//! One call of a connector: what it carries, what bounds it, and the instance that it runs in.

pub(crate) mod data;
pub(crate) mod honeytoken;
pub(crate) mod limits;
pub(crate) mod network;
pub(crate) mod sandbox;
