//! Tables: sources, exports and the layout that codes cold tables across columns.

pub mod layout;
pub mod typing;
