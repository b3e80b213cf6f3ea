//! Entropy coders that the encoding families share.
