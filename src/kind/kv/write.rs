//! Writing prefixes into a file.

use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::cache::{Cache, Shape};
use super::digest::PrefixKey;
use super::layout::{KvLayout, NamedProfile};
use super::profile::KvProfile;
use super::table::{self, Header};
use crate::encoding::Profile;
use crate::error::{Error, Result};
use crate::file::write::{AtomicFile, Sink};
use crate::file::{WriteOptions, WriteSummary, Writer};

/// How a KV file is written.
#[derive(Debug, Clone, Default)]
pub struct KvOptions {
    /// Names the model, whatever decides its values included; part of every digest.
    pub model: String,
    /// Encodings for columns: a glob over names (`k*`, `v3`), and the encoding's words.
    pub specs: Vec<(String, String)>,
    /// Profiles by the names that specs call them by; others are read from the path that is named.
    pub profiles: Vec<NamedProfile>,
    /// Size against speed, for the keys of the rows.
    pub profile: Profile,
    /// Threads that encode; 0 takes what the machine has.
    pub threads: usize,
    /// Publishes without reading back what was written ([`WriteOptions::unchecked`]).
    pub unchecked: bool,
}

impl KvOptions {
    /// Exact storage for a model.
    pub fn for_model(model: &str) -> Self {
        Self {
            model: model.to_owned(),
            ..Self::default()
        }
    }

    fn write_options(&self, layout: KvLayout) -> WriteOptions {
        WriteOptions {
            profile: self.profile,
            specs: self.specs.clone(),
            layout: Some(Box::new(layout)),
            threads: self.threads,
            unchecked: self.unchecked,
            ..WriteOptions::default()
        }
    }
}

/// Writes one file of prefixes, which all have the shape of the first.
pub struct KvWriter<S: Sink> {
    options: KvOptions,
    sink: Option<S>,
    open: Option<(Shape, SchemaRef, Writer<S>)>,
    /// Profiles that caches are coded by, whose rotation theirs must be.
    profiles: Vec<Arc<KvProfile>>,
}

impl KvWriter<Vec<u8>> {
    /// A file in memory.
    pub fn in_memory(options: KvOptions) -> Result<Self> {
        Self::with_sink(Vec::new(), options)
    }

    /// Finishes a file in memory and gives its bytes.
    pub fn into_bytes(self) -> Result<Vec<u8>> {
        self.open()?.into_bytes()
    }
}

impl KvWriter<AtomicFile> {
    /// A file at a path, which changes only when all went well.
    pub fn create(path: &Path, options: KvOptions) -> Result<Self> {
        Self::with_sink(AtomicFile::create(path)?, options)
    }
}

impl<S: Sink> KvWriter<S> {
    /// A file in any sink.
    pub fn with_sink(sink: S, options: KvOptions) -> Result<Self> {
        Ok(Self {
            options,
            sink: Some(sink),
            open: None,
            profiles: Vec::new(),
        })
    }

    /// Adds a cache as a prefix of its own, for the tenant of this salt (empty for none).
    pub fn add(&mut self, cache: &Cache, salt: &[u8]) -> Result<()> {
        if let Some(sink) = self.sink.take() {
            let header = Header {
                shape: *cache.shape(),
                model: self.options.model.clone(),
                token_type: cache.token_type(),
            };
            let schema = header.schema();
            let options = &self.options;
            let layout = KvLayout::new(
                &options.specs,
                &options.profiles,
                &header.model,
                &header.shape,
            )?;
            self.profiles = layout.profiles();
            let writer =
                Writer::with_sink(sink, Arc::clone(&schema), options.write_options(layout))?;
            self.open = Some((header.shape, schema, writer));
        }
        let Some((shape, schema, writer)) = &mut self.open else {
            return Err(Error::invalid("the file could not be started"));
        };
        if shape != cache.shape() {
            return Err(Error::invalid(format!(
                "a cache of {:?} cannot join those of {shape:?} in one file",
                cache.shape()
            )));
        }
        for profile in &self.profiles {
            profile.check_rotation(cache)?;
        }
        let key = PrefixKey::new(&self.options.model, salt);
        writer.write(&table::batch(schema, &key, salt, cache)?)
    }

    fn open(self) -> Result<Writer<S>> {
        let (_, _, writer) = self
            .open
            .ok_or_else(|| Error::invalid("no cache was given, so there is nothing to store"))?;
        Ok(writer)
    }

    /// Publishes the file.
    pub fn finish(self) -> Result<WriteSummary> {
        self.open()?.finish()
    }
}
