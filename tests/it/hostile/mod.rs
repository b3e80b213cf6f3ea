//! Bytes that nobody wrote: whatever a file holds, reading it gives an error or a valid array,
//! within bounds of memory and time.

mod files;
mod logs;
mod mutate;
mod nodes;
