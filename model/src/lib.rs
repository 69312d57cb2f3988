//! The specification: written from the published protocol texts, never from our code.
//!
//! [`check`] visits every state of a specification within bounds; [`kip`] holds the published specifications of Kafka's
//! replication, revision by revision; [`replication`] is the protocol of one partition with what they leave out, [`quorum`]
//! that of the metadata log; [`catalogue`] names them for scenario files.

pub mod catalogue;
pub mod check;
pub mod kip;
pub mod quorum;
pub mod replication;
