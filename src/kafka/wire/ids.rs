//! Lists of nodes, as messages have them and as we do.

use crate::types::NodeId;
use kafka_protocol::messages::BrokerId;

/// For a message.
pub fn broker_ids(nodes: &[NodeId]) -> Vec<BrokerId> {
    nodes.iter().map(|node| BrokerId(node.0)).collect()
}

/// Of a message.
pub fn node_ids(brokers: &[BrokerId]) -> Vec<NodeId> {
    brokers.iter().map(|broker| NodeId(broker.0)).collect()
}
