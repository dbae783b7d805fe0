//! What Weir remembers: one method, one transaction.
