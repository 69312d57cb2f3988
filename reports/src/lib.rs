//! The page: plain data in, text out. Knows nothing of simulator or broker.

pub mod conform;
pub mod moment;
pub mod plot;
pub mod searched;
pub mod sides;
pub mod table;
pub mod text;
pub mod view;
pub mod walk;
