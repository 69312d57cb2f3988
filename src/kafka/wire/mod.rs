//! Bytes on the wire: framing, the API table, error codes, record batches. Message types come from `kafka-protocol`.
pub mod api;
pub mod batch;
pub mod error;
pub mod frame;
pub mod ids;
pub mod schema;

pub use error::ErrorCode;
