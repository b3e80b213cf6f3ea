//! The messages of `formats/README.md`, as prost structs.

/// Key and value.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Pair {
    /// Key.
    #[prost(string, tag = "1")]
    pub key: String,
    /// Value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// The footer.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Footer {
    /// Number of rows.
    #[prost(uint64, tag = "1")]
    pub rows: u64,
    /// Rows in a zone.
    #[prost(uint32, tag = "2")]
    pub zone_rows: u32,
    /// The encoding table.
    #[prost(string, repeated, tag = "3")]
    pub encodings: Vec<String>,
    /// The column directory.
    #[prost(message, repeated, tag = "4")]
    pub columns: Vec<DirectoryEntry>,
    /// Metadata of the Arrow schema.
    #[prost(message, repeated, tag = "5")]
    pub schema_metadata: Vec<Pair>,
    /// The file's own metadata.
    #[prost(message, repeated, tag = "6")]
    pub user_metadata: Vec<Pair>,
}

/// A column in the directory.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DirectoryEntry {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// 0 visible, 1 hidden, 2 derived.
    #[prost(uint32, tag = "2")]
    pub role: u32,
    /// Where the block starts.
    #[prost(uint64, tag = "3")]
    pub offset: u64,
    /// The block's length in bytes.
    #[prost(uint64, tag = "4")]
    pub length: u64,
    /// The block's checksum.
    #[prost(fixed32, tag = "5")]
    pub checksum: u32,
    /// The block itself, if it lies in the footer; then there is no place and checksum.
    #[prost(bytes = "vec", optional, tag = "6")]
    pub block: Option<Vec<u8>>,
}

/// What a column's block says.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ColumnBlock {
    /// The Arrow field.
    #[prost(message, optional, tag = "1")]
    pub field: Option<Field>,
    /// Columns that this one is conditioned on.
    #[prost(message, repeated, tag = "2")]
    pub parents: Vec<Parent>,
    /// Group with equal chunk boundaries.
    #[prost(uint32, optional, tag = "3")]
    pub group: Option<u32>,
    /// Declared loss; absent for exact columns.
    #[prost(message, optional, tag = "4")]
    pub lossiness: Option<Lossiness>,
    /// The encoding spec that was asked for.
    #[prost(string, tag = "5")]
    pub words: String,
    /// Segments.
    #[prost(message, repeated, tag = "6")]
    pub segments: Vec<Segment>,
    /// Models.
    #[prost(message, repeated, tag = "7")]
    pub models: Vec<ModelRef>,
    /// Chunks.
    #[prost(message, repeated, tag = "8")]
    pub chunks: Vec<Chunk>,
    /// Zone map.
    #[prost(message, optional, tag = "9")]
    pub zones: Option<ZoneMap>,
    /// Nulls in the column.
    #[prost(uint64, tag = "10")]
    pub null_count: u64,
}

/// A parent column.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Parent {
    /// Position in the directory of this file.
    #[prost(uint32, tag = "1")]
    pub column: u32,
    /// Digest of another file, if the parent is a column of that.
    #[prost(bytes = "vec", tag = "2")]
    pub digest: Vec<u8>,
    /// Name of the column in the other file.
    #[prost(string, tag = "3")]
    pub name: String,
}

/// Declared and measured loss.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Lossiness {
    /// 1 absolute error, 2 relative error, 3 quantized.
    #[prost(uint32, tag = "1")]
    pub kind: u32,
    /// Declared bound.
    #[prost(double, tag = "2")]
    pub bound: f64,
    /// Bits a value, if quantized.
    #[prost(uint32, tag = "3")]
    pub bits: u32,
    /// Metric, if quantized.
    #[prost(string, tag = "4")]
    pub metric: String,
    /// Largest error that was measured.
    #[prost(double, tag = "5")]
    pub measured_max: f64,
    /// Root mean square of the error.
    #[prost(double, tag = "6")]
    pub measured_rms: f64,
    /// Part of the ten nearest rows (Euclidean distance) that a search of the stored vectors finds,
    /// measured on a sample; absent where that is not known.
    #[prost(double, optional, tag = "7")]
    pub recall_at_10: Option<f64>,
    /// Rows of the sample.
    #[prost(uint32, tag = "8")]
    pub recall_rows: u32,
    /// Rows of it that were looked for among the others.
    #[prost(uint32, tag = "9")]
    pub recall_queries: u32,
    /// Values that were too large for their codes; absent where that is not counted.
    #[prost(uint64, optional, tag = "10")]
    pub saturated: Option<u64>,
}

/// Where a segment is.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Segment {
    /// Offset in the file.
    #[prost(uint64, tag = "1")]
    pub offset: u64,
    /// Length of the payload.
    #[prost(uint64, tag = "2")]
    pub length: u64,
    /// Page size as a power of two.
    #[prost(uint32, tag = "3")]
    pub page_log2: u32,
    /// The payload itself, for small ones.
    #[prost(bytes = "vec", optional, tag = "4")]
    pub inline: Option<Vec<u8>>,
}

/// Where a model is.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ModelRef {
    /// Kind.
    #[prost(string, tag = "1")]
    pub kind: String,
    /// Segment of the column.
    #[prost(uint32, tag = "2")]
    pub segment: u32,
    /// Offset in the payload.
    #[prost(uint64, tag = "3")]
    pub offset: u64,
    /// Length.
    #[prost(uint64, tag = "4")]
    pub length: u64,
    /// Digest of a model outside the file.
    #[prost(bytes = "vec", tag = "5")]
    pub digest: Vec<u8>,
}

/// A chunk of a column.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Chunk {
    /// Number of rows.
    #[prost(uint64, tag = "1")]
    pub rows: u64,
    /// Segment of the column.
    #[prost(uint32, tag = "2")]
    pub segment: u32,
    /// Offset in the payload.
    #[prost(uint64, tag = "3")]
    pub offset: u64,
    /// Root of the encoded array.
    #[prost(message, optional, tag = "4")]
    pub root: Option<Node>,
    /// Size of the decoded Arrow array.
    #[prost(uint64, tag = "5")]
    pub decoded_bytes: u64,
    /// Whether buffers lie one at the end of the other.
    #[prost(bool, tag = "6")]
    pub tight: bool,
}

/// The zone map of a column: four encoded arrays.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ZoneMap {
    /// Segment of the column.
    #[prost(uint32, tag = "1")]
    pub segment: u32,
    /// Offset in the payload.
    #[prost(uint64, tag = "2")]
    pub offset: u64,
    /// Minimum; absent for types without an order.
    #[prost(message, optional, tag = "3")]
    pub min: Option<Node>,
    /// Maximum.
    #[prost(message, optional, tag = "4")]
    pub max: Option<Node>,
    /// Null count.
    #[prost(message, optional, tag = "5")]
    pub null_count: Option<Node>,
    /// Flags.
    #[prost(message, optional, tag = "6")]
    pub flags: Option<Node>,
}

/// Shape of an encoded array.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Node {
    /// Position in the encoding table.
    #[prost(uint32, tag = "1")]
    pub encoding: u32,
    /// Number of rows.
    #[prost(uint64, tag = "2")]
    pub rows: u64,
    /// The encoding's own metadata.
    #[prost(bytes = "vec", tag = "3")]
    pub metadata: Vec<u8>,
    /// Lengths of the buffers.
    #[prost(uint64, repeated, tag = "4")]
    pub buffers: Vec<u64>,
    /// Children.
    #[prost(message, repeated, tag = "5")]
    pub children: Vec<Node>,
    /// One more than the position in the column's model list.
    #[prost(uint32, tag = "6")]
    pub model: u32,
    /// Positions in the column's parent list.
    #[prost(uint32, repeated, tag = "7")]
    pub parents: Vec<u32>,
}

/// An Arrow field.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Field {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Type.
    #[prost(message, optional, tag = "2")]
    pub data_type: Option<Type>,
    /// Whether values may be null.
    #[prost(bool, tag = "3")]
    pub nullable: bool,
    /// Metadata; extension types live here.
    #[prost(message, repeated, tag = "4")]
    pub metadata: Vec<Pair>,
}

/// An Arrow type.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Type {
    /// Id, see the specification.
    #[prost(uint32, tag = "1")]
    pub id: u32,
    /// Fields of nested types.
    #[prost(message, repeated, tag = "2")]
    pub children: Vec<Field>,
    /// Time or interval unit.
    #[prost(uint32, tag = "3")]
    pub unit: u32,
    /// Time zone.
    #[prost(string, optional, tag = "4")]
    pub zone: Option<String>,
    /// Decimal precision.
    #[prost(uint32, tag = "5")]
    pub precision: u32,
    /// Decimal scale.
    #[prost(sint32, tag = "6")]
    pub scale: i32,
    /// Width of fixed-size types.
    #[prost(sint32, tag = "7")]
    pub size: i32,
    /// Type of dictionary keys.
    #[prost(message, optional, boxed, tag = "8")]
    pub key: Option<Box<Type>>,
    /// Type of dictionary values.
    #[prost(message, optional, boxed, tag = "9")]
    pub value: Option<Box<Type>>,
    /// Whether map keys are sorted.
    #[prost(bool, tag = "10")]
    pub flag: bool,
}
