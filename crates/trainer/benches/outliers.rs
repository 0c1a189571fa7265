//! How far the numbers of honest models stand out, by recipe and width: what the bounds of
//! `[model.health]` must leave room for.
//!
//! `cargo bench -p trainer --bench outliers` prints a table; it takes some minutes.

#![allow(clippy::print_stdout, reason = "its only output is a table")]

#[allow(dead_code, reason = "the other benchmark and the test use the rest")]
#[path = "../tests/it/health/zoo.rs"]
mod zoo;

use engine::{TensorHealth, no_limits, scan};
use protocol::competition::HealthLimits;
use std::error::Error;
use trainer::Recipe;

/// Hidden sizes, and models of each recipe that are trained at that size.
const WIDTHS: [(usize, u64); 4] = [(32, 4), (64, 4), (128, 2), (256, 1)];

/// Ways to train that people use, and some that make single numbers grow.
fn recipes() -> [(&'static str, Recipe); 6] {
    let usual = Recipe { total_steps: 200, sequences_per_batch: 8, ..Recipe::default() };
    let hot = Recipe { lr: 2e-2, lr_min: 2e-3, warmup_steps: 0, ..usual };
    [
        ("usual", usual.clone()),
        ("no decay", Recipe { weight_decay: 0.0, ..usual }),
        ("much decay", Recipe { weight_decay: 1.0, ..usual }),
        ("no clipping", Recipe { clip_norm: 1e9, beta2: 0.999, ..usual }),
        ("hot, no warm-up, no decay", Recipe { weight_decay: 0.0, ..hot }),
        ("hot and long", Recipe { weight_decay: 0.0, total_steps: 800, ..hot }),
    ]
}

/// The greatest of a figure over the tensors of a model.
fn greatest(tensors: &[TensorHealth], figure: impl Fn(&TensorHealth) -> f64) -> f64 {
    tensors.iter().map(figure).fold(0.0, f64::max)
}

fn main() -> Result<(), Box<dyn Error>> {
    let (mut n_models, mut n_refused) = (0, 0);
    println!("| recipe | width | models | peak | row | column | input | decades apart | refused |");
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for (name, recipe) in recipes() {
        for (width, n) in WIDTHS {
            let (mut most, mut refused) = ([0.0_f64; 5], 0);
            for number in 0..n {
                let dir = zoo::trained(zoo::config(width, number), recipe.clone(), number);
                let scan = scan(&zoo::model(&dir), &no_limits())?.map_err(|r| r.to_string())?;
                let tensors: Vec<_> =
                    scan.tensors.into_iter().filter(|tensor| tensor.shape.len() == 2).collect();
                let figures = [
                    greatest(&tensors, |tensor| tensor.peak),
                    greatest(&tensors, |tensor| tensor.row_ratio),
                    greatest(&tensors, |tensor| tensor.column_ratio),
                    greatest(&tensors, |tensor| tensor.channel_ratio.unwrap_or(1.0)),
                    greatest(&tensors, |tensor| tensor.channel_decades.unwrap_or(0.0).abs()),
                ];
                most.iter_mut().zip(figures).for_each(|(most, figure)| *most = most.max(figure));
                refused += u64::from(!scan.findings.is_empty());
                scan.findings.iter().for_each(|finding| eprintln!("{name}, {width}: {finding}"));
            }
            (n_models, n_refused) = (n_models + n, n_refused + refused);
            let most = most.map(|figure| format!("{figure:.1}")).join(" | ");
            println!("| {name} | {width} | {n} | {most} | {refused} |");
        }
    }
    let HealthLimits { peak_max, row_ratio_max, .. } = HealthLimits::default();
    println!("\n{n_refused} of {n_models} honest models are refused by the usual bounds:");
    println!("{peak_max} for a peak, {row_ratio_max} for rows, columns and inputs");
    Ok(())
}
