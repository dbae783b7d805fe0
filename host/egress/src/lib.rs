//! What leaves: the only crate of Weir that opens a connection.
