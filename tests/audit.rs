//! The audit list: every change has its row, no row tells a secret, and the list is paged, swept and not lost.

mod list;
mod rows;
