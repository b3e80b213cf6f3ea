//! Text files, compressed or not, as readers.

use std::fs::File;
use std::io::{BufReader, Cursor, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use liblzma::bufread::XzDecoder;

use crate::error::{Error, Result};

/// Frames of zstd start so.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Members of gzip, whose only method is deflate.
const GZIP: [u8; 3] = [0x1f, 0x8b, 8];
/// Streams of xz.
const XZ: [u8; 6] = [0xfd, b'7', b'z', b'X', b'Z', 0];

/// Opens a file; `-` is standard input. What is compressed is told by its first bytes, not by its
/// name.
pub fn open(path: &Path) -> Result<Box<dyn Read>> {
    let name = path.display().to_string();
    if path.as_os_str() == "-" {
        return unpacked(Box::new(std::io::stdin()), &name);
    }
    let failed = |e| Error::io(format!("cannot read {name}"), e);
    let file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.is_dir() {
        return Err(Error::invalid(format!(
            "{name} is a directory; name the files in it, as in {name}/*.log"
        )));
    }
    unpacked(Box::new(file), &name)
}

/// The text of a reader that may be compressed.
pub fn unpacked(mut reader: Box<dyn Read>, name: &str) -> Result<Box<dyn Read>> {
    let failed = |e| Error::io(format!("cannot read {name}"), e);
    let mut head = Vec::new();
    (&mut reader)
        .take(6)
        .read_to_end(&mut head)
        .map_err(failed)?;
    let starts = |magic: &[u8]| head.starts_with(magic);
    let (is_zstd, is_gzip, is_xz) = (starts(&ZSTD), starts(&GZIP), starts(&XZ));
    let whole = BufReader::with_capacity(256 << 10, Cursor::new(head).chain(reader));
    if is_zstd {
        let decoder = zstd::stream::read::Decoder::with_buffer(whole).map_err(failed)?;
        return Ok(Box::new(decoder));
    }
    Ok(match (is_gzip, is_xz) {
        (true, _) => Box::new(MultiGzDecoder::new(whole)),
        (_, true) => Box::new(XzDecoder::new_multi_decoder(whole)),
        _ => Box::new(whole),
    })
}
