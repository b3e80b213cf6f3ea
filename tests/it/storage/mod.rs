//! What a file promises: every table comes back in every way of reading it, nothing is read that is
//! not needed, damage is named, and a file appears whole or not at all.

mod damage;
mod publish;
mod readback;
mod reading;
mod small;
mod tables;
mod wide;
mod zones;
