//! Bytes that nobody wrote: whatever a file holds, reading it gives an error or a valid array,
//! within bounds of memory and time.

mod files;
mod mutate;
mod nodes;
