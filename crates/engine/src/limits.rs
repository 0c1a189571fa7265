//! What a model is judged by before any of its parameters is read.

use crate::{arch::Architecture, checkpoint::Checkpoint, error::refuse, footprint::Memory, work};
use protocol::{
    Competition, Reason,
    ReasonCode::{ParameterCount, TooLarge, TooSlow, VocabularyMismatch},
    competition::ModelLimits,
};

/// Threads that the rule about memory counts with, whatever the machine has: a thread of its own
/// takes work space, and every validator must come to the same verdict.
const THREADS: usize = 8;

/// What a model is judged by: the limits of a competition on models, and what it is measured on.
///
/// Made of a [`Competition`] it has all of its rules. Made of [`ModelLimits`] alone it knows no
/// text: it says nothing of vocabulary, context, work and memory.
#[derive(Clone, Copy, Debug)]
pub struct Limits<'a> {
    pub(crate) model: &'a ModelLimits,
    exam: Option<Exam>,
}

/// What measuring asks of a model, and what it may take.
#[derive(Clone, Copy, Debug)]
struct Exam {
    vocabulary: usize,
    sequence_length: usize,
    work_max: u64,
    memory_bytes_max: u64,
}

/// What measuring a model takes, by formulas: the same on every machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// Work of measuring a sequence, in multiply-adds of a large product.
    pub work: u64,
    /// Most that the competition allows.
    pub work_max: u64,
    /// Memory at most, with all parameters in it.
    pub memory: Memory,
    /// Most bytes that the competition allows on eight threads.
    pub memory_bytes_max: u64,
}

impl<'a> From<&'a ModelLimits> for Limits<'a> {
    fn from(model: &'a ModelLimits) -> Self {
        Self { model, exam: None }
    }
}

impl<'a> From<&'a Competition> for Limits<'a> {
    fn from(competition: &'a Competition) -> Self {
        let exam = Exam {
            vocabulary: competition.text.vocabulary(),
            sequence_length: competition.text.sequence_length,
            work_max: competition.work_max(),
            memory_bytes_max: competition.model.memory_max(),
        };
        Self { model: &competition.model, exam: Some(exam) }
    }
}

impl Limits<'_> {
    /// Refuses a model for what its config says of its size, its text, its work and its memory.
    pub(crate) fn check(
        &self,
        checkpoint: &Checkpoint,
        architecture: &Architecture,
    ) -> Result<(), Reason> {
        let n_parameters = architecture.n_parameters();
        let (min, max) = (self.model.n_parameters_min, self.model.n_parameters_max);
        if !(min..=max).contains(&n_parameters) {
            let detail = format!("{n_parameters} parameters, not from {min} to {max}");
            return refuse(ParameterCount, detail);
        }
        let Some(exam) = &self.exam else { return Ok(()) };
        let (needed, length) = (exam.vocabulary, exam.sequence_length);
        let Architecture { vocabulary, context, .. } = *architecture;
        if vocabulary < needed || context < length {
            let detail = format!(
                "the model has {vocabulary} tokens and a context of {context}; \
                 the competition needs {needed} and {length}"
            );
            return refuse(VocabularyMismatch, detail);
        }
        exam.need(checkpoint, architecture).check(length)
    }

    /// What measuring takes, where there is something to measure on.
    pub(crate) fn need(
        &self,
        checkpoint: &Checkpoint,
        architecture: &Architecture,
    ) -> Option<Need> {
        self.exam.as_ref().map(|exam| exam.need(checkpoint, architecture))
    }
}

impl Exam {
    fn need(&self, checkpoint: &Checkpoint, architecture: &Architecture) -> Need {
        Need {
            work: work::of_sequence(architecture, self.sequence_length as u64),
            work_max: self.work_max,
            memory: Memory::of(checkpoint, architecture, self.sequence_length),
            memory_bytes_max: self.memory_bytes_max,
        }
    }
}

impl Need {
    fn check(&self, sequence_length: usize) -> Result<(), Reason> {
        let Self { work, work_max, memory, memory_bytes_max } = *self;
        if work > work_max {
            let detail = format!(
                "a sequence of {sequence_length} tokens takes the work of {work} multiply-adds, \
                 more than the {work_max} allowed"
            );
            return refuse(TooSlow, detail);
        }
        let memory_bytes = memory.on_threads(THREADS);
        if memory_bytes > memory_bytes_max {
            let detail = format!(
                "measuring takes {memory_bytes} bytes of memory on {THREADS} threads, more than \
                 the {memory_bytes_max} allowed"
            );
            return refuse(TooLarge, detail);
        }
        Ok(())
    }
}
