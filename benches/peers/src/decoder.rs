//! As much of a Llama-like decoder as measuring a cache's attention error takes: the queries of a text,
//! and what attention gives with keys and values that are handed in.

use std::collections::HashMap;
use std::path::Path;

use safetensors::SafeTensors;

use crate::Result;

/// A decoder's weights and sizes, from `config.json` and `model.safetensors` of a folder.
pub struct Decoder {
    weights: HashMap<String, Vec<f32>>,
    /// Layers.
    pub layers: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    theta: f64,
    epsilon: f32,
    interleaved: bool,
}

/// Rotated queries of each layer, `[heads, tokens, head_dim]`.
pub struct Queries(Vec<Vec<f32>>);

impl Decoder {
    /// Reads a decoder; `None` if the folder holds none.
    pub fn open(folder: &Path) -> Result<Option<Self>> {
        let (config, model) = (folder.join("config.json"), folder.join("model.safetensors"));
        if !config.exists() || !model.exists() {
            return Ok(None);
        }
        let config = std::fs::read_to_string(config)?;
        // A flat object of numbers and strings.
        let value = |key: &str| -> Option<&str> {
            let (_, rest) = config.split_once(&format!("\"{key}\""))?;
            let rest = rest.trim_start().strip_prefix(':')?.trim_start();
            Some(rest.split([',', '}']).next()?.trim().trim_matches('"'))
        };
        let number = |key: &str| -> Result<f64> {
            let text = value(key).ok_or_else(|| format!("config.json without '{key}'"))?;
            Ok(text.parse()?)
        };
        let bytes = std::fs::read(model)?;
        let tensors = SafeTensors::deserialize(&bytes)?;
        let mut weights = HashMap::new();
        for (name, tensor) in tensors.tensors() {
            let (words, _) = tensor.data().as_chunks::<4>();
            let values = words.iter().map(|&w| f32::from_le_bytes(w)).collect();
            weights.insert(name, values);
        }
        Ok(Some(Self {
            weights,
            layers: number("layers")? as usize,
            heads: number("heads")? as usize,
            kv_heads: number("kv_heads")? as usize,
            head_dim: number("head_dim")? as usize,
            theta: number("theta").unwrap_or(1e4),
            epsilon: number("eps").unwrap_or(1e-5) as f32,
            interleaved: value("rope") == Some("pair"),
        }))
    }

    fn weight(&self, name: &str) -> Result<&[f32]> {
        let found = self.weights.get(name);
        Ok(found.ok_or_else(|| format!("no weight '{name}'"))?)
    }

    fn norm(&self, rows: &[f32], weight: &[f32]) -> Vec<f32> {
        let mut out = rows.to_vec();
        for row in out.chunks_exact_mut(weight.len()) {
            let mean = row.iter().map(|x| x * x).sum::<f32>() / row.len() as f32;
            let scale = 1.0 / (mean + self.epsilon).sqrt();
            row.iter_mut()
                .zip(weight)
                .for_each(|(x, w)| *x *= scale * w);
        }
        out
    }

    /// `rows [n, from] x weight [to, from]^T`.
    fn product(&self, rows: &[f32], from: usize, name: &str) -> Result<Vec<f32>> {
        let weight = self.weight(name)?;
        let mut out = Vec::with_capacity(rows.len() / from * (weight.len() / from));
        for row in rows.chunks_exact(from) {
            let dots = weight.chunks_exact(from).map(|w| dot(row, w));
            out.extend(dots);
        }
        Ok(out)
    }

    /// Rows `[tokens, heads * head_dim]` as `[heads, tokens, head_dim]`, turned if `turned`.
    fn split(&self, rows: &[f32], heads: usize, turned: bool) -> Vec<f32> {
        let (d, tokens) = (self.head_dim, rows.len() / (heads * self.head_dim));
        let mut out = vec![0f32; rows.len()];
        for token in 0..tokens {
            for head in 0..heads {
                let from = &rows[(token * heads + head) * d..][..d];
                let to = &mut out[(head * tokens + token) * d..][..d];
                to.copy_from_slice(from);
                for i in (0..d / 2).filter(|_| turned) {
                    let angle = token as f64 * self.theta.powf(-2.0 * i as f64 / d as f64);
                    let (c, s) = (angle.cos() as f32, angle.sin() as f32);
                    let (a, b) = match self.interleaved {
                        true => (2 * i, 2 * i + 1),
                        false => (i, i + d / 2),
                    };
                    (to[a], to[b]) = (from[a] * c - from[b] * s, from[a] * s + from[b] * c);
                }
            }
        }
        out
    }

    /// Attention of one layer, `[heads, tokens, head_dim]`, causal.
    fn attend(&self, queries: &[f32], keys: &[f32], values: &[f32]) -> Vec<f32> {
        let (d, shared) = (self.head_dim, self.heads / self.kv_heads);
        let tokens = keys.len() / (self.kv_heads * d);
        let mut out = vec![0f32; queries.len()];
        let scale = 1.0 / (d as f32).sqrt();
        let mut scores = vec![0f32; tokens];
        for head in 0..self.heads {
            let keys = &keys[head / shared * tokens * d..][..tokens * d];
            let values = &values[head / shared * tokens * d..][..tokens * d];
            for token in 0..tokens {
                let at = (head * tokens + token) * d;
                let query = &queries[at..at + d];
                let scores = &mut scores[..=token];
                for (score, key) in scores.iter_mut().zip(keys.chunks_exact(d)) {
                    *score = dot(query, key) * scale;
                }
                let most = scores.iter().copied().fold(f32::MIN, f32::max);
                let mut sum = 0.0;
                for score in scores.iter_mut() {
                    *score = (*score - most).exp();
                    sum += *score;
                }
                let out = &mut out[at..at + d];
                for (&score, value) in scores.iter().zip(values.chunks_exact(d)) {
                    let weight = score / sum;
                    out.iter_mut()
                        .zip(value)
                        .for_each(|(o, v)| *o += weight * v);
                }
            }
        }
        out
    }

    /// Runs the text and keeps the queries of each layer, and what attention gave.
    pub fn run(&self, tokens: &[u32]) -> Result<(Queries, Vec<Vec<f32>>)> {
        let embeddings = self.weight("emb")?;
        let width = self.weight("nf.weight")?.len();
        let row = |&t: &u32| embeddings[t as usize * width..][..width].to_vec();
        let mut x: Vec<f32> = tokens.iter().flat_map(row).collect();
        let (mut queries, mut attention) = (Vec::new(), Vec::new());
        for layer in 0..self.layers {
            let name = |n: &str| format!("layers.{layer}.{n}.weight");
            let y = self.norm(&x, self.weight(&name("n1"))?);
            let q = self.split(&self.product(&y, width, &name("q"))?, self.heads, true);
            let k = self.split(&self.product(&y, width, &name("k"))?, self.kv_heads, true);
            let v = self.split(&self.product(&y, width, &name("v"))?, self.kv_heads, false);
            let a = self.attend(&q, &k, &v);
            let (d, n) = (self.head_dim, tokens.len());
            let mut rows = vec![0f32; a.len()];
            for head in 0..self.heads {
                for token in 0..n {
                    rows[(token * self.heads + head) * d..][..d]
                        .copy_from_slice(&a[(head * n + token) * d..][..d]);
                }
            }
            let o = self.product(&rows, self.heads * d, &name("o"))?;
            x.iter_mut().zip(&o).for_each(|(x, o)| *x += o);
            let y = self.norm(&x, self.weight(&name("n2"))?);
            let mut g = self.product(&y, width, &name("g"))?;
            let u = self.product(&y, width, &name("u"))?;
            let gate = |(g, u): (&mut f32, &f32)| *g = *g / (1.0 + (-*g).exp()) * u;
            g.iter_mut().zip(&u).for_each(gate);
            let hidden = g.len() / n;
            let down = self.product(&g, hidden, &name("d"))?;
            x.iter_mut().zip(&down).for_each(|(x, d)| *x += d);
            queries.push(q);
            attention.push(a);
        }
        Ok((Queries(queries), attention))
    }

    /// Relative Frobenius error of attention's outputs over all layers, heads and positions: `keys` and
    /// `values` of each layer are `[kv_heads, tokens, head_dim]`.
    pub fn error(
        &self,
        queries: &Queries,
        attention: &[Vec<f32>],
        mut layer_of: impl FnMut(usize) -> Result<(Vec<f32>, Vec<f32>)>,
    ) -> Result<f64> {
        let (mut off, mut all) = (0.0, 0.0);
        for (layer, (queries, expected)) in queries.0.iter().zip(attention).enumerate() {
            let (keys, values) = layer_of(layer)?;
            let got = self.attend(queries, &keys, &values);
            for (a, b) in got.iter().zip(expected) {
                off += f64::from(a - b) * f64::from(a - b);
                all += f64::from(*b) * f64::from(*b);
            }
        }
        Ok((off / all).sqrt())
    }
}

/// A dot product in eight sums, which compilers turn into vector instructions.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f32; 8];
    let (a8, a_rest) = a.as_chunks::<8>();
    let (b8, b_rest) = b.as_chunks::<8>();
    for (a, b) in a8.iter().zip(b8) {
        for i in 0..8 {
            sums[i] += a[i] * b[i];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}
