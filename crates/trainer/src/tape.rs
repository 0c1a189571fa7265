//! The five steps of a Llama model as operations that candle can differentiate.
//!
//! Each fuses what would be a dozen of candle's own operations and keeps no more than its input:
//! what the backward pass needs besides is cheap to compute again.

use crate::kernel::{
    attention::{self, Plan},
    head,
    matmul::{Matrix, MatrixMut, Write, multiply},
    norm, swiglu,
};
use candle_core::{
    CpuStorage, CustomOp1, CustomOp3, Device, Layout, Result, Shape, Storage, Tensor, bail,
};
use std::sync::{Arc, Mutex};

/// Rows of a table by number; a [`CustomOp1`] on the table.
pub(crate) struct Embed {
    /// Numbers of the rows, each below the length of the table.
    pub(crate) tokens: Arc<Vec<u32>>,
}

/// Norm of rows with a gain, then a linear map; a [`CustomOp3`] on rows, gain, weight.
pub(crate) struct NormLinear {
    /// Added to the mean square.
    pub(crate) eps: f32,
}

/// Causal attention; a [`CustomOp1`] on packed queries, keys and values.
pub(crate) struct Attention {
    /// Shape of heads and sequences.
    pub(crate) plan: Arc<Plan>,
}

/// Residual rows plus a linear map of other rows; a [`CustomOp3`] on residual, rows, weight.
pub(crate) struct AddLinear;

/// Residual rows plus a linear map of silu(gate) * up; a [`CustomOp3`] on residual, packed gate
/// and up, weight.
pub(crate) struct AddSwigluLinear;

/// Norm, projection to the vocabulary and mean cross-entropy; a [`CustomOp3`] on rows, gain,
/// weight.
///
/// The forward pass takes the gradients along and keeps them for the backward pass.
pub(crate) struct NormHeadLoss {
    /// Added to the mean square.
    pub(crate) eps: f32,
    /// The token that each row should predict.
    pub(crate) targets: Arc<Vec<u32>>,
    /// Gradients of rows, gain and weight, once the forward pass has run.
    pub(crate) gradients: Mutex<Option<[Tensor; 3]>>,
}

/// The numbers of a dense tensor.
fn floats<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => bail!("expected a dense tensor"),
    }
}

/// Runs `f` on the numbers of dense tensors in main memory.
pub(crate) fn with_floats<const N: usize, R>(
    tensors: [&Tensor; N],
    f: impl FnOnce([&[f32]; N]) -> R,
) -> Result<R> {
    let guards = tensors.map(Tensor::storage_and_layout);
    let mut slices = [&[][..]; N];
    for (slice, (storage, layout)) in slices.iter_mut().zip(&guards) {
        let Storage::Cpu(storage) = &**storage else { bail!("expected a tensor on the CPU") };
        *slice = floats(storage, layout)?;
    }
    Ok(f(slices))
}

fn tensor(values: Vec<f32>, shape: impl Into<Shape>) -> Result<Tensor> {
    Tensor::from_vec(values, shape.into(), &Device::Cpu)
}

fn stored(values: Vec<f32>, shape: impl Into<Shape>) -> (CpuStorage, Shape) {
    (CpuStorage::F32(values), shape.into())
}

/// `rows` times the transpose of `weight`.
fn linear(rows: &[f32], weight: &[f32], (n_out, n_in): (usize, usize)) -> Vec<f32> {
    let n = rows.len() / n_in;
    let mut result = vec![0.0; n * n_out];
    multiply(
        Matrix::new(rows, n, n_in),
        Matrix::new(weight, n_out, n_in).t(),
        MatrixMut::new(&mut result, n, n_out),
        Write::Replace,
    );
    result
}

/// As [`linear`], with a residual that the product is added to.
fn add_linear(
    residual: &[f32],
    rows: &[f32],
    weight: &[f32],
    (n_out, n_in): (usize, usize),
) -> Vec<f32> {
    let n = rows.len() / n_in;
    let mut result = residual.to_vec();
    multiply(
        Matrix::new(rows, n, n_in),
        Matrix::new(weight, n_out, n_in).t(),
        MatrixMut::new(&mut result, n, n_out),
        Write::Add,
    );
    result
}

/// Gradients of rows and weight of a linear map.
fn linear_backward(
    rows: &[f32],
    weight: &[f32],
    gradient: &[f32],
    (n_out, n_in): (usize, usize),
) -> (Vec<f32>, Vec<f32>) {
    let n = rows.len() / n_in;
    let gradient = Matrix::new(gradient, n, n_out);
    let mut of_rows = vec![0.0; rows.len()];
    multiply(
        gradient,
        Matrix::new(weight, n_out, n_in),
        MatrixMut::new(&mut of_rows, n, n_in),
        Write::Replace,
    );
    let mut of_weight = vec![0.0; weight.len()];
    multiply(
        gradient.t(),
        Matrix::new(rows, n, n_in),
        MatrixMut::new(&mut of_weight, n_out, n_in),
        Write::Replace,
    );
    (of_rows, of_weight)
}

impl CustomOp1 for Embed {
    fn name(&self) -> &'static str {
        "embed"
    }

    fn cpu_fwd(&self, table: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let width = layout.shape().dims2()?.1;
        let table = floats(table, layout)?;
        let mut rows = Vec::with_capacity(self.tokens.len() * width);
        for token in self.tokens.iter() {
            rows.extend_from_slice(&table[*token as usize * width..][..width]);
        }
        Ok(stored(rows, (self.tokens.len(), width)))
    }

    fn bwd(&self, table: &Tensor, _rows: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (n_rows, width) = table.dims2()?;
        let mut of_table = vec![0.0; n_rows * width];
        with_floats([gradient], |[gradient]| {
            for (token, gradient) in self.tokens.iter().zip(gradient.chunks_exact(width)) {
                let row = &mut of_table[*token as usize * width..][..width];
                row.iter_mut().zip(gradient).for_each(|(sum, gradient)| *sum += gradient);
            }
        })?;
        Ok(Some(tensor(of_table, (n_rows, width))?))
    }
}

impl CustomOp3 for NormLinear {
    fn name(&self) -> &'static str {
        "norm-linear"
    }

    fn cpu_fwd(
        &self,
        rows: &CpuStorage,
        rows_layout: &Layout,
        gain: &CpuStorage,
        gain_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (n, shape) = (rows_layout.shape().dims2()?.0, weight_layout.shape().dims2()?);
        let (rows, gain) = (floats(rows, rows_layout)?, floats(gain, gain_layout)?);
        let normed = norm::forward(rows, gain, self.eps);
        Ok(stored(linear(&normed, floats(weight, weight_layout)?, shape), (n, shape.0)))
    }

    fn bwd(
        &self,
        rows: &Tensor,
        gain: &Tensor,
        weight: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let shape = weight.dims2()?;
        let (of_rows, of_gain, of_weight) =
            with_floats([rows, gain, weight, gradient], |[rows, gain, weight, gradient]| {
                let normed = norm::forward(rows, gain, self.eps);
                let (mut of_rows, of_weight) = linear_backward(&normed, weight, gradient, shape);
                let of_gain = norm::backward(rows, gain, self.eps, &mut of_rows);
                (of_rows, of_gain, of_weight)
            })?;
        Ok((
            Some(tensor(of_rows, rows.shape())?),
            Some(tensor(of_gain, gain.shape())?),
            Some(tensor(of_weight, shape)?),
        ))
    }
}

impl CustomOp1 for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(&self, packed: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let n = layout.shape().dims2()?.0;
        let result = attention::forward(&self.plan, floats(packed, layout)?);
        Ok(stored(result, (n, self.plan.heads.result_width())))
    }

    fn bwd(&self, packed: &Tensor, result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let of_packed = with_floats([packed, result, gradient], |[packed, result, gradient]| {
            attention::backward(&self.plan, packed, result, gradient)
        })?;
        Ok(Some(tensor(of_packed, packed.shape())?))
    }
}

impl CustomOp3 for AddLinear {
    fn name(&self) -> &'static str {
        "add-linear"
    }

    fn cpu_fwd(
        &self,
        residual: &CpuStorage,
        residual_layout: &Layout,
        rows: &CpuStorage,
        rows_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let shape = weight_layout.shape().dims2()?;
        let (residual, rows) = (floats(residual, residual_layout)?, floats(rows, rows_layout)?);
        let result = add_linear(residual, rows, floats(weight, weight_layout)?, shape);
        Ok(stored(result, residual_layout.shape()))
    }

    fn bwd(
        &self,
        _residual: &Tensor,
        rows: &Tensor,
        weight: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let shape = weight.dims2()?;
        let (of_rows, of_weight) =
            with_floats([rows, weight, gradient], |[rows, weight, gradient]| {
                linear_backward(rows, weight, gradient, shape)
            })?;
        let of_rows = tensor(of_rows, rows.shape())?;
        Ok((Some(gradient.clone()), Some(of_rows), Some(tensor(of_weight, shape)?)))
    }
}

impl CustomOp3 for AddSwigluLinear {
    fn name(&self) -> &'static str {
        "add-swiglu-linear"
    }

    fn cpu_fwd(
        &self,
        residual: &CpuStorage,
        residual_layout: &Layout,
        gate_up: &CpuStorage,
        gate_up_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let shape = weight_layout.shape().dims2()?;
        let active = swiglu::forward(floats(gate_up, gate_up_layout)?, shape.1);
        let residual = floats(residual, residual_layout)?;
        let result = add_linear(residual, &active, floats(weight, weight_layout)?, shape);
        Ok(stored(result, residual_layout.shape()))
    }

    fn bwd(
        &self,
        _residual: &Tensor,
        gate_up: &Tensor,
        weight: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let shape = weight.dims2()?;
        let (of_gate_up, of_weight) =
            with_floats([gate_up, weight, gradient], |[gate_up, weight, gradient]| {
                let active = swiglu::forward(gate_up, shape.1);
                let (of_active, of_weight) = linear_backward(&active, weight, gradient, shape);
                (swiglu::backward(gate_up, shape.1, &of_active), of_weight)
            })?;
        let of_gate_up = tensor(of_gate_up, gate_up.shape())?;
        Ok((Some(gradient.clone()), Some(of_gate_up), Some(tensor(of_weight, shape)?)))
    }
}

impl CustomOp3 for NormHeadLoss {
    fn name(&self) -> &'static str {
        "norm-head-loss"
    }

    fn cpu_fwd(
        &self,
        rows: &CpuStorage,
        rows_layout: &Layout,
        gain: &CpuStorage,
        gain_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let width = weight_layout.shape().dims2()?.1;
        let (rows, gain) = (floats(rows, rows_layout)?, floats(gain, gain_layout)?);
        let weight = floats(weight, weight_layout)?;
        let normed = norm::forward(rows, gain, self.eps);
        let (loss, mut gradients) = head::loss_and_gradients(&normed, weight, &self.targets, width);
        let of_gain = norm::backward(rows, gain, self.eps, &mut gradients.rows);
        let gradients = [
            tensor(gradients.rows, rows_layout.shape())?,
            tensor(of_gain, gain_layout.shape())?,
            tensor(gradients.weight, weight_layout.shape())?,
        ];
        if let Ok(mut slot) = self.gradients.lock() {
            *slot = Some(gradients);
        }
        let mean = loss / self.targets.len() as f64;
        Ok((CpuStorage::F64(vec![mean]), Shape::from(())))
    }

    fn bwd(
        &self,
        _rows: &Tensor,
        _gain: &Tensor,
        _weight: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        // The loss is where the backward pass starts: the factor is one.
        debug_assert_eq!(gradient.to_scalar::<f64>()?, 1.0);
        let gradients = self.gradients.lock().ok().and_then(|mut slot| slot.take());
        let Some([of_rows, of_gain, of_weight]) = gradients else {
            bail!("the gradients of a loss can be taken once")
        };
        Ok((Some(of_rows), Some(of_gain), Some(of_weight)))
    }
}

#[cfg(test)]
mod tests;
