//! What a GPU is asked to do: the kernels of `kernels.cu`, and products of matrices.
//!
//! Each function checks that the buffers are as long as the kernel will take them to be.
#![allow(unsafe_code)]

use super::device::{Device, Gain, Matrix, Numbers, attention_bytes, told};
use crate::{arch::Activation, error::Error};
use cudarc::{
    cublas::{result::gemm_ex, sys as blas},
    driver::{DevicePtr as _, DevicePtrMut as _, DeviceRepr, LaunchConfig, PushKernelArg as _},
};
use half::bf16;
use std::ops::Range;

/// Threads of a block where nothing else decides.
const THREADS: u32 = 256;
/// Threads of a block of attention, and the queries that it works on.
const ATTENTION_THREADS: u32 = 128;
pub(super) const QUERIES_PER_BLOCK: usize = 64;
/// Neighbours that a thread bends.
const BEND_STEP: usize = 8;

/// Rows of numbers on the device.
#[derive(Clone, Copy)]
pub(super) struct View<B> {
    /// The buffer that they stand in.
    pub(super) numbers: B,
    pub(super) n_rows: usize,
    /// Numbers from one row to the next; whoever norms rows or adds a bias takes all of them for
    /// the row.
    pub(super) stride: usize,
}

/// Matrices with a row for each token, and for each place if there is one.
#[derive(Clone, Copy)]
pub(super) struct Tables<'a> {
    pub(super) tokens: &'a Matrix,
    pub(super) places: Option<&'a Matrix>,
}

/// Tokens, and their places in their sequences.
#[derive(Clone, Copy)]
pub(super) struct Tokens<'a> {
    pub(super) tokens: &'a Numbers<u32>,
    pub(super) places: &'a Numbers<u32>,
    pub(super) n: usize,
}

/// How the first heads of rows are turned.
pub(super) struct Rotation<'a> {
    pub(super) angles: &'a Numbers<f32>,
    /// Places of the rows in their sequences.
    pub(super) places: &'a Numbers<u32>,
    /// Pairs of a head that are turned.
    pub(super) n_pairs: usize,
    pub(super) head_size: usize,
    pub(super) n_heads: usize,
}

/// What a perceptron does with its inputs.
pub(super) struct Bending<'a> {
    pub(super) bias: Option<&'a Numbers<f32>>,
    pub(super) is_gated: bool,
    pub(super) activation: Activation,
    /// Numbers of a row that comes out.
    pub(super) width: usize,
}

/// What becomes of logits before losses are taken.
#[derive(Clone, Copy)]
pub(super) struct Finish<'a> {
    pub(super) vocabulary: usize,
    pub(super) bias: Option<&'a Numbers<f32>>,
    pub(super) cap: Option<f32>,
}

/// Targets of all rows, and where their losses go.
pub(super) struct Marks<'a> {
    pub(super) targets: &'a Numbers<u32>,
    pub(super) nats: &'a mut Numbers<f32>,
    /// The first row of those that are at hand.
    pub(super) first: usize,
}

/// Where a product goes.
pub(super) struct Out<'a, T> {
    pub(super) numbers: &'a mut Numbers<T>,
    /// Numbers from one row to the next.
    pub(super) stride: usize,
    /// Whether it is added to what stands there.
    pub(super) is_added: bool,
}

/// What becomes of a normed row; the numbers are those of `kernels.cu`.
pub(super) enum NormTo<'a> {
    /// It is written elsewhere in BF16.
    Bf16(&'a mut Numbers<bf16>),
    /// It is added elsewhere.
    Sum(&'a mut Numbers<f32>),
}

/// Heads of a row of queries, keys and values, and how they look at each other.
pub(super) struct Attend {
    pub(super) n_heads: usize,
    pub(super) n_kv_heads: usize,
    pub(super) head_size: usize,
    pub(super) scale: f32,
    pub(super) score_cap: Option<f32>,
    pub(super) window: Option<usize>,
}

impl Device {
    /// The rows of tokens, plus those of their places if there is a table of them.
    pub(super) fn embed(
        &self,
        tables: Tables<'_>,
        tokens: Tokens<'_>,
        scale: f32,
        out: &mut Numbers<f32>,
    ) -> Result<(), Error> {
        let Tables { tokens: table, places: positions } = tables;
        let Tokens { tokens, places, n: n_rows } = tokens;
        let width = table.n_in;
        assert!(tokens.len() >= n_rows && places.len() >= n_rows && out.len() >= n_rows * width);
        assert!(positions.is_none_or(|positions| positions.n_in == width));
        let width = width as i32;
        let mut launch = self.stream.launch_builder(&self.kernels.embed);
        launch.arg(out).arg(&table.numbers);
        let null = 0_u64;
        match positions {
            Some(positions) => launch.arg(&positions.numbers),
            None => launch.arg(&null),
        };
        launch.arg(tokens).arg(places).arg(&scale).arg(&width);
        // SAFETY: the buffers hold what was asserted; callers give tokens and places in the tables.
        told!("embedding", unsafe { launch.launch(blocks(n_rows, THREADS)) })?;
        Ok(())
    }

    /// Norms rows; without gains they stay as they are.
    pub(super) fn norm(
        &self,
        gain: Option<&Gain>,
        rows: View<&Numbers<f32>>,
        to: NormTo<'_>,
    ) -> Result<(), Error> {
        let View { numbers: rows, n_rows, stride: width } = rows;
        assert!(rows.len() >= n_rows * width);
        let width = width as i32;
        let mut launch = self.stream.launch_builder(&self.kernels.norm_rows);
        launch.arg(rows);
        let (mode, n) = match to {
            NormTo::Bf16(out) => {
                let n = out.len();
                launch.arg(out);
                (0_i32, n)
            }
            NormTo::Sum(out) => {
                let n = out.len();
                launch.arg(out);
                (2, n)
            }
        };
        assert!(n >= n_rows * width as usize);
        let (null, none) = (0_u64, 0.0_f32);
        match gain {
            Some(Gain { gain, bias, width: w, epsilon }) => {
                assert!(*w == width as usize && gain.len() >= *w);
                launch.arg(gain);
                match bias {
                    Some(bias) => launch.arg(bias),
                    None => launch.arg(&null),
                };
                launch.arg(epsilon)
            }
            None => launch.arg(&null).arg(&null).arg(&none),
        };
        launch.arg(&width).arg(&mode);
        // SAFETY: the buffers hold what was asserted.
        told!("norming", unsafe { launch.launch(blocks(n_rows, THREADS)) })?;
        Ok(())
    }

    /// Norms rows where they are.
    pub(super) fn norm_in_place(
        &self,
        gain: &Gain,
        (rows, n_rows): (&mut Numbers<f32>, usize),
    ) -> Result<(), Error> {
        let Gain { gain, bias, width, epsilon } = gain;
        assert!(rows.len() >= n_rows * width && gain.len() >= *width);
        let (width, mode, null) = (*width as i32, 1_i32, 0_u64);
        let (at, _guard) = rows.device_ptr_mut(&self.stream);
        let mut launch = self.stream.launch_builder(&self.kernels.norm_rows);
        launch.arg(&at).arg(&at).arg(gain);
        match bias {
            Some(bias) => launch.arg(bias),
            None => launch.arg(&null),
        };
        launch.arg(epsilon).arg(&width).arg(&mode);
        // SAFETY: the buffers hold what was asserted; a block reads its row before it writes it,
        // and each thread writes what only it reads last.
        told!("norming", unsafe { launch.launch(blocks(n_rows, THREADS)) })?;
        Ok(())
    }

    /// Norms queries or keys, which stand in some columns.
    pub(super) fn norm_heads(
        &self,
        gain: &Gain,
        rows: View<&mut Numbers<bf16>>,
        columns: Range<usize>,
    ) -> Result<(), Error> {
        let View { numbers: rows, n_rows, stride } = rows;
        let (first, n_columns) = (columns.start, columns.len());
        let Gain { gain, bias, width, epsilon } = gain;
        assert!(rows.len() >= n_rows * stride && first + n_columns <= stride);
        assert!(gain.len() >= n_columns && n_columns.is_multiple_of(*width));
        let n_groups = n_rows * n_columns / width;
        let numbers = [stride, first, *width, n_columns, n_rows].map(|n| n as i32);
        let [stride, first, width, n_columns, n_rows] = numbers;
        let null = 0_u64;
        let mut launch = self.stream.launch_builder(&self.kernels.norm_heads);
        launch.arg(rows).arg(&stride).arg(&first).arg(gain);
        match bias {
            Some(bias) => launch.arg(bias),
            None => launch.arg(&null),
        };
        launch.arg(epsilon).arg(&width).arg(&n_columns).arg(&n_rows);
        // SAFETY: the buffers hold what was asserted.
        told!("norming heads", unsafe { launch.launch(blocks(n_groups.div_ceil(8), THREADS)) })?;
        Ok(())
    }

    /// Turns the first heads of each row by the angles of its place.
    pub(super) fn rotate(
        &self,
        rows: View<&mut Numbers<bf16>>,
        rotation: &Rotation<'_>,
    ) -> Result<(), Error> {
        let View { numbers: rows, n_rows, stride } = rows;
        let Rotation { angles, places, n_pairs, head_size, n_heads } = *rotation;
        assert!(rows.len() >= n_rows * stride && places.len() >= n_rows);
        assert!(2 * n_pairs <= head_size && head_size * n_heads <= stride);
        let [stride, n_pairs, head_size, n_heads] =
            [stride, n_pairs, head_size, n_heads].map(|n| n as i32);
        let mut launch = self.stream.launch_builder(&self.kernels.rotate);
        launch.arg(rows).arg(&stride).arg(angles).arg(places);
        launch.arg(&n_pairs).arg(&head_size).arg(&n_heads);
        // SAFETY: the buffers hold what was asserted; callers give places that have angles.
        told!("rotating", unsafe { launch.launch(blocks(n_rows, THREADS)) })?;
        Ok(())
    }

    /// Adds a bias to each of some rows in BF16.
    pub(super) fn add_bias_bf16(
        &self,
        bias: &Numbers<f32>,
        rows: View<&mut Numbers<bf16>>,
    ) -> Result<(), Error> {
        let View { numbers: rows, n_rows, stride: width } = rows;
        assert!(rows.len() >= n_rows * width && bias.len() >= width);
        let (n, width) = ((n_rows * width) as u64, width as i32);
        let mut launch = self.stream.launch_builder(&self.kernels.add_bias_bf16);
        launch.arg(rows).arg(bias).arg(&width).arg(&n);
        // SAFETY: the buffers hold what was asserted.
        told!("adding a bias", unsafe { launch.launch(for_each(n)) })?;
        Ok(())
    }

    /// Adds a bias to each of some rows in F32.
    pub(super) fn add_bias_f32(
        &self,
        bias: &Numbers<f32>,
        rows: View<&mut Numbers<f32>>,
    ) -> Result<(), Error> {
        let View { numbers: rows, n_rows, stride: width } = rows;
        assert!(rows.len() >= n_rows * width && bias.len() >= width);
        let (n, width) = ((n_rows * width) as u64, width as i32);
        let mut launch = self.stream.launch_builder(&self.kernels.add_bias_f32);
        launch.arg(rows).arg(bias).arg(&width).arg(&n);
        // SAFETY: the buffers hold what was asserted.
        told!("adding a bias", unsafe { launch.launch(for_each(n)) })?;
        Ok(())
    }

    /// Adds the bias, bends, and multiplies gates with ups where there are any.
    pub(super) fn bend(
        &self,
        (rows, n_rows): (&Numbers<bf16>, usize),
        bending: &Bending<'_>,
        out: &mut Numbers<bf16>,
    ) -> Result<(), Error> {
        let Bending { bias, is_gated, activation, width } = *bending;
        let n_columns = if is_gated { 2 * width } else { width };
        assert!(rows.len() >= n_rows * n_columns && out.len() >= n_rows * width);
        assert!(bias.is_none_or(|bias| bias.len() >= n_columns));
        let step = if width.is_multiple_of(BEND_STEP) { BEND_STEP } else { 1 };
        let (n, n_rows, null) = ((n_rows * width / step) as u64, n_rows as u64, 0_u64);
        let (width, is_gated) = (width as i32, i32::from(is_gated));
        let activation = match activation {
            Activation::Silu => 0_i32,
            Activation::Gelu => 1,
            Activation::GeluTanh => 2,
            Activation::Relu => 3,
        };
        let mut launch = self.stream.launch_builder(&self.kernels.bend);
        launch.arg(rows).arg(out);
        match bias {
            Some(bias) => launch.arg(bias),
            None => launch.arg(&null),
        };
        launch.arg(&width).arg(&is_gated).arg(&activation).arg(&n_rows);
        // SAFETY: the buffers hold what was asserted.
        told!("bending", unsafe { launch.launch(for_each(n)) })?;
        Ok(())
    }

    /// Attention over the rows of sequences, cut into `n_blocks` blocks of queries of one sequence:
    /// number of its first row, number of its rows, first query, unused.
    pub(super) fn attend(
        &self,
        rows: View<&mut Numbers<bf16>>,
        (blocks, n_blocks): (&Numbers<i32>, usize),
        attend: &Attend,
    ) -> Result<(), Error> {
        let View { numbers: rows, n_rows, stride } = rows;
        let Attend { n_heads, n_kv_heads, head_size, scale, score_cap, window } = *attend;
        assert!(rows.len() >= n_rows * stride && blocks.len() >= 4 * n_blocks);
        assert!((n_heads + 2 * n_kv_heads) * head_size == stride);
        let numbers = [stride, n_heads, n_heads / n_kv_heads].map(|n| n as i32);
        let [stride, heads, n_sharing] = numbers;
        let window = window.map_or(i32::MAX, |window| i32::try_from(window).unwrap_or(i32::MAX));
        let cap = score_cap.unwrap_or(0.0);
        let mut launch = self.stream.launch_builder(&self.kernels.attend);
        launch.arg(rows).arg(&stride).arg(blocks).arg(&heads).arg(&n_sharing);
        launch.arg(&scale).arg(&cap).arg(&window);
        let config = LaunchConfig {
            grid_dim: (n_blocks as u32, n_heads as u32, 1),
            block_dim: (ATTENTION_THREADS, 1, 1),
            shared_mem_bytes: attention_bytes(head_size) as u32,
        };
        // SAFETY: the buffers hold what was asserted; callers give blocks within the rows.
        told!("attending", unsafe { launch.launch(config) })?;
        Ok(())
    }

    /// The negative log-likelihoods of the targets of some rows, by their logits.
    pub(super) fn cross_entropy(
        &self,
        logits: View<&Numbers<f32>>,
        finish: Finish<'_>,
        marks: Marks<'_>,
    ) -> Result<(), Error> {
        let View { numbers: logits, n_rows, stride } = logits;
        let Finish { vocabulary, bias, cap } = finish;
        let Marks { targets, nats, first } = marks;
        assert!(logits.len() >= n_rows * stride && vocabulary <= stride);
        assert!(bias.is_none_or(|bias| bias.len() >= vocabulary));
        let (targets, mut nats) =
            (targets.slice(first..first + n_rows), nats.slice_mut(first..first + n_rows));
        let (vocabulary, stride) = (vocabulary as i32, stride as i32);
        let (cap, null) = (cap.unwrap_or(0.0), 0_u64);
        let mut launch = self.stream.launch_builder(&self.kernels.cross_entropy);
        launch.arg(logits).arg(&targets);
        match bias {
            Some(bias) => launch.arg(bias),
            None => launch.arg(&null),
        };
        launch.arg(&cap).arg(&mut nats).arg(&vocabulary).arg(&stride);
        // SAFETY: the buffers hold what was asserted; callers give targets in the vocabulary.
        told!("taking losses", unsafe { launch.launch(blocks(n_rows, 2 * THREADS)) })?;
        Ok(())
    }

    /// `out = rows matrix'`, by as many rows as there are from row `first` of the buffer on.
    pub(super) fn multiply<T: Sum>(
        &self,
        rows: View<&Numbers<bf16>>,
        first: usize,
        matrix: &Matrix,
        out: Out<'_, T>,
    ) -> Result<(), Error> {
        let View { numbers: rows, n_rows, stride } = rows;
        let Out { numbers: out, stride: out_stride, is_added } = out;
        let Matrix { numbers, n_in, n_out } = matrix;
        assert!(n_rows > 0 && stride >= *n_in && out_stride >= *n_out);
        assert!(numbers.len() >= n_in * n_out && out.len() >= n_rows * out_stride);
        let rows = rows.slice(first * stride..(first + n_rows - 1) * stride + n_in);
        let (alpha, beta) = (1.0_f32, if is_added { 1.0_f32 } else { 0.0 });
        let (transposed, plain) =
            (blas::cublasOperation_t::CUBLAS_OP_T, blas::cublasOperation_t::CUBLAS_OP_N);
        let (brain, sum) = (blas::cudaDataType::CUDA_R_16BF, T::KIND);
        let [n_rows, stride, n_in, n_out, out_stride] =
            [n_rows, stride, *n_in, *n_out, out_stride].map(|n| n as i32);
        let (matrix, _matrix) = numbers.device_ptr(&self.stream);
        let (rows, _rows) = rows.device_ptr(&self.stream);
        let (out, _out) = out.device_ptr_mut(&self.stream);
        // cuBLAS counts columns first: the product that it sees is that of the transposes.
        // SAFETY: the buffers hold what was asserted, and alpha and beta outlive the call.
        told!("multiplying", unsafe {
            gemm_ex(
                *self.blas.handle(),
                transposed,
                plain,
                n_out,
                n_rows,
                n_in,
                (&raw const alpha).cast(),
                matrix as *const _,
                brain,
                n_in,
                rows as *const _,
                brain,
                stride,
                (&raw const beta).cast(),
                out as *mut _,
                sum,
                out_stride,
                blas::cublasComputeType_t::CUBLAS_COMPUTE_32F,
                blas::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
            )
        })
    }
}

/// What products may be rounded to.
pub(super) trait Sum: DeviceRepr {
    const KIND: blas::cudaDataType;
}

impl Sum for f32 {
    const KIND: blas::cudaDataType = blas::cudaDataType::CUDA_R_32F;
}

impl Sum for bf16 {
    const KIND: blas::cudaDataType = blas::cudaDataType::CUDA_R_16BF;
}

/// So many blocks.
fn blocks(n: usize, n_threads: u32) -> LaunchConfig {
    LaunchConfig { grid_dim: (n as u32, 1, 1), block_dim: (n_threads, 1, 1), shared_mem_bytes: 0 }
}

/// A thread for each number.
fn for_each(n: u64) -> LaunchConfig {
    blocks(n.div_ceil(u64::from(THREADS)) as usize, THREADS)
}
