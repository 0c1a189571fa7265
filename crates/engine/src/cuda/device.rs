//! One GPU: its memory, its libraries, and the kernels of `kernels.cu`, compiled for it.
//!
//! Everything is ordered by one stream; only reading back and [`Mark::wait`] wait for it.
#![allow(unsafe_code)]

use crate::error::Error;
use cudarc::{
    cublas::{CudaBlas, sys as blas},
    driver::{
        CudaContext, CudaEvent, CudaFunction, CudaSlice, CudaStream, DeviceRepr, ValidAsZeroBits,
        sys::{
            self as driver, CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
        },
    },
    nvrtc::{CompileOptions, compile_ptx_with_opts, sys as nvrtc},
};
use half::bf16;
use std::sync::Arc;

const SOURCE: &str = include_str!("kernels.cu");
/// Widest head of attention: what it gathers must fit the registers.
pub(super) const HEAD_SIZE_MAX: usize = 256;
/// Keys that a block of attention works on at a time.
const KEYS_PER_BLOCK: usize = 64;
/// First generation whose tensor cores multiply BF16.
const CAPABILITY_MIN: i32 = 8;

/// Bytes of shared memory of a block of attention: keys and values, padded as in `kernels.cu`.
pub(super) fn attention_bytes(head_size: usize) -> usize {
    2 * KEYS_PER_BLOCK * (head_size.next_multiple_of(16) + 8) * size_of::<bf16>()
}

/// What the driver or a library said.
pub(super) fn fault(what: &'static str) -> impl Fn(&dyn std::fmt::Debug) -> Error {
    move |said| Error::Gpu(format!("{what}: {said:?}"))
}

macro_rules! told {
    ($what:literal, $result:expr) => {
        $result.map_err(|error| $crate::cuda::device::fault($what)(&error))
    };
}
pub(super) use told;

/// Numbers on the GPU.
pub(super) type Numbers<T> = CudaSlice<T>;

/// A matrix `[n_out, n_in]`.
pub(super) struct Matrix {
    pub(super) numbers: Numbers<bf16>,
    pub(super) n_in: usize,
    pub(super) n_out: usize,
}

/// A point between what was asked for before and what is asked for later.
pub(super) struct Mark(CudaEvent);

impl Mark {
    /// Waits until all that was asked for before is done.
    pub(super) fn wait(&self) -> Result<(), Error> {
        told!("computing", self.0.synchronize())
    }
}

/// Gains of a norm.
pub(super) struct Gain {
    pub(super) gain: Numbers<f32>,
    pub(super) bias: Option<Numbers<f32>>,
    /// Numbers that are normed together.
    pub(super) width: usize,
    pub(super) epsilon: f32,
}

/// The kernels, by their names in `kernels.cu`.
pub(super) struct Kernels {
    pub(super) embed: CudaFunction,
    pub(super) norm_rows: CudaFunction,
    pub(super) norm_heads: CudaFunction,
    pub(super) rotate: CudaFunction,
    pub(super) add_bias_bf16: CudaFunction,
    pub(super) add_bias_f32: CudaFunction,
    pub(super) bend: CudaFunction,
    pub(super) cross_entropy: CudaFunction,
    pub(super) attend: CudaFunction,
}

/// A GPU, ready to run models whose heads have one size.
pub(super) struct Device {
    name: String,
    pub(super) stream: Arc<CudaStream>,
    pub(super) blas: CudaBlas,
    pub(super) kernels: Kernels,
}

impl Device {
    /// Opens a GPU and compiles the kernels.
    pub(super) fn open(ordinal: usize, head_size: usize) -> Result<Self, Error> {
        check_libraries()?;
        let context = told!("opening it", CudaContext::new(ordinal))?;
        let name = told!("asking for its name", context.name())?;
        let (major, minor) = told!("asking for its kind", context.compute_capability())?;
        if major < CAPABILITY_MIN {
            let kind = format!("{name} has compute capability {major}.{minor}");
            return Err(Error::Gpu(format!("{kind}: BF16 needs {CAPABILITY_MIN}.0")));
        }
        let options = CompileOptions {
            options: vec![
                format!("--gpu-architecture=compute_{major}{minor}"),
                format!("-DHEAD_SIZE={head_size}"),
            ],
            ..CompileOptions::default()
        };
        let code = told!("compiling for it", compile_ptx_with_opts(SOURCE, options))?;
        let module = told!("loading code", context.load_module(code))?;
        let kernel = |name: &str| told!("loading a kernel", module.load_function(name));
        let kernels = Kernels {
            embed: kernel("embed")?,
            norm_rows: kernel("norm_rows")?,
            norm_heads: kernel("norm_heads")?,
            rotate: kernel("rotate")?,
            add_bias_bf16: kernel("add_bias_bf16")?,
            add_bias_f32: kernel("add_bias_f32")?,
            bend: kernel("bend")?,
            cross_entropy: kernel("cross_entropy")?,
            attend: kernel("attend")?,
        };
        let n_bytes = attention_bytes(head_size) as i32;
        let allowed = CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        told!("asking for shared memory", kernels.attend.set_attribute(allowed, n_bytes))?;
        let stream = context.default_stream();
        let blas = told!("starting cuBLAS", CudaBlas::new(Arc::clone(&stream)))?;
        // Partial sums of a product are never rounded to BF16.
        let mode = blas::cublasMath_t::CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION;
        // SAFETY: the handle is that of `blas`, which lives.
        let set = unsafe { blas::cublasSetMathMode(*blas.handle(), mode) };
        told!("setting cuBLAS up", set.result())?;
        Ok(Self { name, stream, blas, kernels })
    }

    /// What the maker calls it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Marks all that was asked for so far.
    pub(super) fn mark(&self) -> Result<Mark, Error> {
        told!("computing", self.stream.record_event(None)).map(Mark)
    }

    /// Zeros.
    pub(super) fn zeros<T>(&self, n: usize) -> Result<Numbers<T>, Error>
    where
        T: DeviceRepr + ValidAsZeroBits,
    {
        // A kernel may be given an empty buffer, but nothing of length zero can be had.
        let zeros = self.stream.alloc_zeros(n.max(1));
        zeros.map_err(|error| {
            Error::Gpu(format!("{} bytes of its memory: {error:?}", n * size_of::<T>()))
        })
    }

    /// A copy of numbers.
    pub(super) fn upload<T>(&self, numbers: &[T]) -> Result<Numbers<T>, Error>
    where
        T: DeviceRepr + ValidAsZeroBits,
    {
        let mut copy = self.zeros(numbers.len())?;
        self.write(numbers, &mut copy)?;
        Ok(copy)
    }

    /// Replaces the first numbers of a buffer.
    pub(super) fn write<T>(&self, numbers: &[T], to: &mut Numbers<T>) -> Result<(), Error>
    where
        T: DeviceRepr + ValidAsZeroBits,
    {
        if numbers.is_empty() {
            return Ok(());
        }
        told!("writing to it", self.stream.memcpy_htod(numbers, to))
    }

    /// The first numbers of a buffer, once all that was asked for is done.
    pub(super) fn read(&self, from: &Numbers<f32>, to: &mut [f32]) -> Result<(), Error> {
        told!("reading from it", self.stream.memcpy_dtoh(&from.slice(..to.len()), to))?;
        told!("computing", self.stream.synchronize())
    }
}

/// The libraries are looked for at run time; without one of them no call may be made.
fn check_libraries() -> Result<(), Error> {
    // SAFETY: these only try to open the libraries.
    let missing = unsafe {
        [
            (driver::is_culib_present(), "libcuda.so, which comes with the driver"),
            (nvrtc::is_culib_present(), "libnvrtc.so, which comes with the CUDA toolkit"),
            (blas::is_culib_present(), "libcublas.so, which comes with the CUDA toolkit"),
        ]
    };
    match missing.iter().find(|(is_there, _)| !is_there) {
        Some((_, library)) => Err(Error::Gpu(format!("cannot find {library}"))),
        None => Ok(()),
    }
}
