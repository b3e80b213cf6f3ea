//! Eigenvectors of symmetric matrices: Householder's reduction to three diagonals, then implicit QL.
//!
//! Golub and Van Loan, *Matrix Computations*, 8.3. All sums have one order and only square roots are
//! taken, so that all machines find the same vectors. Some `9 n^3` operations, most of them on whole rows.

/// Rounds of QL for one eigenvalue; a few suffice.
const ROUNDS: usize = 64;
/// Elements beside the diagonal that count as zero, where the matrix has a trace of one.
const NOTHING: f64 = 1e-18;

/// `sums += a * row`, element by element.
fn add(sums: &mut [f64], a: f64, row: &[f64]) {
    for (sum, x) in sums.iter_mut().zip(row) {
        *sum += a * x;
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// A matrix of three diagonals, and the reflections that led to it.
struct Tridiagonal {
    diagonal: Vec<f64>,
    /// Element `i` stands between `i` and `i + 1`; the last is zero.
    beside: Vec<f64>,
    /// Row `k` has the vector of reflection `k` from place `k + 1` on.
    vectors: Vec<f64>,
    factors: Vec<f64>,
}

/// Reduces a symmetric matrix, given as rows of `n` numbers.
fn tridiagonal(mut a: Vec<f64>, n: usize) -> Tridiagonal {
    let (mut diagonal, mut beside) = (vec![0.0; n], vec![0.0; n]);
    let mut factors = vec![0.0; n];
    let mut product = vec![0.0; n];
    for k in 0..n {
        diagonal[k] = a[k * n + k];
        if k + 1 == n {
            break;
        }
        let rest = k + 1..n;
        let mut v = a[k * n + k + 1..(k + 1) * n].to_vec();
        let tail = dot(&v[1..], &v[1..]);
        if tail <= NOTHING * NOTHING {
            beside[k] = v[0];
            continue;
        }
        let norm = (v[0] * v[0] + tail).sqrt();
        let target = if v[0] > 0.0 { -norm } else { norm };
        v[0] -= target;
        beside[k] = target;
        let factor = 2.0 / (v[0] * v[0] + tail);
        factors[k] = factor;
        // A' = A - v w^T - w v^T with p = factor A v, w = p - factor/2 <p, v> v.
        let w = &mut product[rest.clone()];
        w.fill(0.0);
        for (i, x) in v.iter().enumerate() {
            let start = (k + 1 + i) * n;
            add(w, factor * x, &a[start + k + 1..start + n]);
        }
        let half = 0.5 * factor * dot(w, &v);
        add(w, -half, &v);
        for (i, x) in v.iter().enumerate() {
            let start = (k + 1 + i) * n;
            let row = &mut a[start + k + 1..start + n];
            let own = w[i];
            for ((cell, w), v) in row.iter_mut().zip(w.iter()).zip(&v) {
                *cell -= x * w + own * v;
            }
        }
        a[k * n + k + 1..(k + 1) * n].copy_from_slice(&v);
    }
    Tridiagonal {
        diagonal,
        beside,
        vectors: a,
        factors,
    }
}

/// Turns two neighbouring rows.
fn rotate(rows: &mut [f64], n: usize, i: usize, c: f64, s: f64) {
    let (upper, lower) = rows[i * n..(i + 2) * n].split_at_mut(n);
    for (x, y) in upper.iter_mut().zip(lower) {
        let (a, b) = (*x, *y);
        *y = s * a + c * b;
        *x = c * a - s * b;
    }
}

/// Eigenvalues into `d`; row `i` of what comes back belongs to `d[i]`.
fn implicit_ql(d: &mut [f64], e: &mut [f64]) -> Vec<f64> {
    let n = d.len();
    let mut z = vec![0.0; n * n];
    for i in 0..n {
        z[i * n + i] = 1.0;
    }
    for l in 0..n {
        for _ in 0..ROUNDS {
            let small = |i: &usize| {
                let near = d[*i].abs() + d[*i + 1].abs();
                e[*i].abs() <= f64::EPSILON * near + NOTHING
            };
            let m = (l..n - 1).find(small).unwrap_or(n - 1);
            if m == l {
                break;
            }
            let mut g = (d[l + 1] - d[l]) / (2.0 * e[l]);
            let r = (g * g + 1.0).sqrt();
            g = d[m] - d[l] + e[l] / (g + if g < 0.0 { -r } else { r });
            let (mut s, mut c, mut p) = (1.0, 1.0, 0.0);
            let mut whole = true;
            for i in (l..m).rev() {
                let (f, b) = (s * e[i], c * e[i]);
                let r = (f * f + g * g).sqrt();
                e[i + 1] = r;
                if r == 0.0 {
                    d[i + 1] -= p;
                    e[m] = 0.0;
                    whole = false;
                    break;
                }
                (s, c) = (f / r, g / r);
                g = d[i + 1] - p;
                let t = (d[i] - g) * s + 2.0 * c * b;
                p = s * t;
                d[i + 1] = g + p;
                g = c * t - b;
                rotate(&mut z, n, i, c, s);
            }
            if whole {
                d[l] -= p;
                e[l] = g;
                e[m] = 0.0;
            }
        }
    }
    z
}

/// The `count` eigenvectors of largest eigenvalue of a symmetric matrix of rows of `n` numbers, row by
/// row, the largest first.
pub fn eigenvectors(mut matrix: Vec<f64>, n: usize, count: usize) -> Vec<f64> {
    if n == 0 {
        return Vec::new();
    }
    let trace: f64 = (0..n).map(|i| matrix[i * n + i].abs()).sum();
    if trace > 0.0 {
        matrix.iter_mut().for_each(|x| *x /= trace);
    }
    let Tridiagonal {
        mut diagonal,
        mut beside,
        vectors,
        factors,
    } = tridiagonal(matrix, n);
    let z = implicit_ql(&mut diagonal, &mut beside);
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|a, b| diagonal[*b].total_cmp(&diagonal[*a]));
    let mut out = Vec::with_capacity(count.min(n) * n);
    for &at in order.iter().take(count) {
        let start = out.len();
        out.extend_from_slice(&z[at * n..(at + 1) * n]);
        for k in (0..n - 1).rev().filter(|k| factors[*k] != 0.0) {
            let v = &vectors[k * n + k + 1..(k + 1) * n];
            let part = &mut out[start + k + 1..];
            let along = factors[k] * dot(part, v);
            add(part, -along, v);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A symmetric matrix of these eigenvalues, by reflections.
    fn matrix(values: &[f64]) -> Vec<f64> {
        let n = values.len();
        let mut a = vec![0.0; n * n];
        for (i, value) in values.iter().enumerate() {
            a[i * n + i] = *value;
        }
        for turn in 1..4 {
            let v: Vec<f64> = (0..n).map(|i| ((i * turn + 1) as f64).sin()).collect();
            let factor = 2.0 / dot(&v, &v);
            for _ in 0..2 {
                // From the left, then, since the matrix is turned over, from the right.
                let mut turned = vec![0.0; n * n];
                for j in 0..n {
                    let along: f64 = factor * (0..n).map(|i| v[i] * a[i * n + j]).sum::<f64>();
                    for i in 0..n {
                        turned[j * n + i] = a[i * n + j] - along * v[i];
                    }
                }
                a = turned;
            }
        }
        a
    }

    #[test]
    fn vectors_are_orthonormal_and_stretched_by_their_eigenvalues() {
        let falling: Vec<f64> = (0..30).map(|i| 1.0 / (1.0 + f64::from(i))).collect();
        let mut pairs = vec![5.0; 9];
        pairs.extend([1.0, 1.0, 0.0, 0.0, 0.0, -2.0]);
        for mut values in [falling, pairs, vec![0.0; 6], vec![3.0], vec![1.0, 2.0]] {
            let n = values.len();
            let a = matrix(&values);
            values.sort_by(|a, b| b.total_cmp(a));
            let found = eigenvectors(a.clone(), n, n);
            for (i, x) in found.chunks(n).enumerate() {
                for (j, y) in found.chunks(n).enumerate() {
                    let expected = f64::from(u8::from(i == j));
                    assert!((dot(x, y) - expected).abs() < 1e-12, "{i} {j} of {n}");
                }
                for (row, component) in a.chunks(n).zip(x) {
                    let off = dot(row, x) - values[i] * component;
                    assert!(off.abs() < 1e-12 * 10.0, "{i} of {n} off by {off}");
                }
            }
        }
    }

    #[test]
    fn directions_without_correlation_stay_as_they_are() {
        let mut a = vec![0.0; 16];
        (a[0], a[5], a[10], a[15]) = (1.0, 9.0, 0.0, 4.0);
        let found = eigenvectors(a, 4, 2);
        assert_eq!(found, [0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
    }
}
