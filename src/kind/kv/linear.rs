//! The linear algebra that fitting a profile takes: matrices are rows of `n` numbers.

/// Eigenvectors of a symmetric matrix, the largest eigenvalue first: vector `j` is row `j` of what
/// comes back. Cyclic Jacobi rotations (Golub and Van Loan, *Matrix Computations*, 8.5).
pub fn eigenvectors(mut a: Vec<f64>, n: usize) -> Vec<f64> {
    let mut vectors = vec![0.0; n * n];
    for i in 0..n {
        vectors[i * n + i] = 1.0;
    }
    let total: f64 = a.iter().map(|x| x * x).sum();
    for _ in 0..30 {
        let outside: f64 = (0..n)
            .flat_map(|i| (0..i).map(move |j| (i, j)))
            .map(|(i, j)| a[i * n + j] * a[i * n + j])
            .sum();
        if outside <= total * 1e-20 {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                rotate(&mut a, &mut vectors, n, p, q);
            }
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&i, &j| a[j * n + j].total_cmp(&a[i * n + i]));
    order
        .iter()
        .flat_map(|&j| vectors[j * n..(j + 1) * n].to_vec())
        .collect()
}

/// One rotation that makes element `(p, q)` zero.
fn rotate(a: &mut [f64], vectors: &mut [f64], n: usize, p: usize, q: usize) {
    let off = a[p * n + q];
    if off == 0.0 {
        return;
    }
    let theta = (a[q * n + q] - a[p * n + p]) / (2.0 * off);
    let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
    let t = if theta == 0.0 { 1.0 } else { t };
    let c = 1.0 / (t * t + 1.0).sqrt();
    let s = t * c;
    for k in 0..n {
        let (x, y) = (a[p * n + k], a[q * n + k]);
        a[p * n + k] = c * x - s * y;
        a[q * n + k] = s * x + c * y;
        let (x, y) = (vectors[p * n + k], vectors[q * n + k]);
        vectors[p * n + k] = c * x - s * y;
        vectors[q * n + k] = s * x + c * y;
    }
    for k in 0..n {
        let (x, y) = (a[k * n + p], a[k * n + q]);
        a[k * n + p] = c * x - s * y;
        a[k * n + q] = s * x + c * y;
    }
}

/// `rows^T rows / count` of rows of `n` numbers.
pub fn second_moments(rows: &[f64], n: usize) -> Vec<f64> {
    products(rows, n, rows, n)
}

/// `left^T right / count` of as many rows of both.
pub fn products(left: &[f64], n: usize, right: &[f64], m: usize) -> Vec<f64> {
    let mut sums = vec![0.0; n * m];
    let mut count = 0usize;
    for (a, b) in left.chunks_exact(n).zip(right.chunks_exact(m)) {
        for (sums, &a) in sums.chunks_exact_mut(m).zip(a) {
            for (sum, &b) in sums.iter_mut().zip(b) {
                *sum += a * b;
            }
        }
        count += 1;
    }
    let share = 1.0 / count.max(1) as f64;
    sums.iter_mut().for_each(|s| *s *= share);
    sums
}

/// Solves `(g + damping * mean diagonal) w = r` for symmetric positive `g` of `n` rows and `r` of `n`
/// rows of `m` numbers (Cholesky).
pub fn solve(mut g: Vec<f64>, n: usize, mut r: Vec<f64>, m: usize, damping: f64) -> Vec<f64> {
    let mean = (0..n).map(|i| g[i * n + i]).sum::<f64>() / n.max(1) as f64;
    for i in 0..n {
        g[i * n + i] += damping * mean + f64::MIN_POSITIVE;
    }
    // The lower triangle becomes the factor.
    for j in 0..n {
        for i in j..n {
            let known: f64 = (0..j).map(|k| g[i * n + k] * g[j * n + k]).sum();
            let rest = g[i * n + j] - known;
            g[i * n + j] = match i == j {
                true => rest.max(f64::MIN_POSITIVE).sqrt(),
                false => rest / g[j * n + j],
            };
        }
    }
    let subtract = |r: &mut [f64], from: usize, to: usize, times: f64| {
        for k in 0..m {
            r[to * m + k] -= times * r[from * m + k];
        }
    };
    for i in 0..n {
        for j in 0..i {
            subtract(&mut r, j, i, g[i * n + j]);
        }
        r[i * m..(i + 1) * m]
            .iter_mut()
            .for_each(|x| *x /= g[i * n + i]);
    }
    for i in (0..n).rev() {
        for j in i + 1..n {
            subtract(&mut r, j, i, g[j * n + i]);
        }
        r[i * m..(i + 1) * m]
            .iter_mut()
            .for_each(|x| *x /= g[i * n + i]);
    }
    r
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(count: usize, n: usize) -> Vec<f64> {
        let mut seed = 3u64;
        let mut uniform = || {
            seed = seed
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (seed >> 33) as f64 / (1u64 << 31) as f64 - 0.5
        };
        let free: Vec<f64> = (0..count * n).map(|_| uniform()).collect();
        // Neighbours are correlated.
        (0..count * n)
            .map(|i| free[i] + if i % n > 0 { free[i - 1] } else { 0.0 })
            .collect()
    }

    #[test]
    fn eigenvectors_diagonalize_and_are_orthonormal() {
        let n = 12;
        let a = second_moments(&rows(300, n), n);
        let v = eigenvectors(a.clone(), n);
        let mut last = f64::MAX;
        for i in 0..n {
            for j in 0..n {
                let dot: f64 = (0..n).map(|k| v[i * n + k] * v[j * n + k]).sum();
                assert!((dot - f64::from(u8::from(i == j))).abs() < 1e-9);
                let form: f64 = (0..n)
                    .flat_map(|k| (0..n).map(move |l| (k, l)))
                    .map(|(k, l)| v[i * n + k] * a[k * n + l] * v[j * n + l])
                    .sum();
                if i == j {
                    assert!(form <= last + 1e-12);
                    last = form;
                } else {
                    assert!(form.abs() < 1e-9);
                }
            }
        }
    }

    #[test]
    fn regressions_find_the_map_that_made_the_data() {
        let (n, m) = (6, 2);
        let x = rows(200, n);
        let map: Vec<f64> = (0..n * m).map(|i| i as f64 - 5.0).collect();
        let y: Vec<f64> = x
            .chunks_exact(n)
            .flat_map(|x| {
                (0..m)
                    .map(|k| (0..n).map(|i| x[i] * map[i * m + k]).sum::<f64>())
                    .collect::<Vec<_>>()
            })
            .collect();
        let found = solve(second_moments(&x, n), n, products(&x, n, &y, m), m, 0.0);
        for (a, b) in found.iter().zip(&map) {
            assert!((a - b).abs() < 1e-9, "{a} {b}");
        }
    }
}
