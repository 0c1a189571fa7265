//! What a commitment holds: fields of bytes, each length a kind of its own.

use parity_scale_codec::{Compact, Decode, Encode, Error as CodecError, Input, Output};
use scale_info::{Path, Type, TypeInfo, build::Fields, build::Variants};

/// What a hotkey publishes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, TypeInfo)]
pub struct CommitmentInfo {
    /// One field of bytes; more are refused.
    pub fields: Vec<Data>,
}

/// Most fields that are read; Bittensor's runtime takes as many.
const FIELDS_MAX: u32 = 3;

impl Decode for CommitmentInfo {
    fn decode<I: Input>(input: &mut I) -> Result<Self, CodecError> {
        // A field can be a single byte on the wire and is much more in memory.
        let n_fields = Compact::<u32>::decode(input)?.0;
        if n_fields > FIELDS_MAX {
            return Err("more than three fields in a commitment".into());
        }
        let fields = (0..n_fields).map(|_| Data::decode(input)).collect::<Result<_, _>>()?;
        Ok(Self { fields })
    }
}

/// A field of a commitment.
///
/// One byte in front says kind and length: 0 nothing, n + 1 for n bytes up to 128, then two kinds
/// that Bittensor's runtime got later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// Nothing.
    None,
    /// Up to 128 bytes, each length a variant of its own.
    Raw(Vec<u8>),
    /// Up to 512 bytes; refused as too long.
    BigRaw(Vec<u8>),
}

/// Names of the variants of [`Data`] by length.
#[rustfmt::skip]
const RAW_NAMES: [&str; 129] = [
    "Raw0", "Raw1", "Raw2", "Raw3", "Raw4", "Raw5", "Raw6", "Raw7", "Raw8", "Raw9", "Raw10",
    "Raw11", "Raw12", "Raw13", "Raw14", "Raw15", "Raw16", "Raw17", "Raw18", "Raw19", "Raw20",
    "Raw21", "Raw22", "Raw23", "Raw24", "Raw25", "Raw26", "Raw27", "Raw28", "Raw29", "Raw30",
    "Raw31", "Raw32", "Raw33", "Raw34", "Raw35", "Raw36", "Raw37", "Raw38", "Raw39", "Raw40",
    "Raw41", "Raw42", "Raw43", "Raw44", "Raw45", "Raw46", "Raw47", "Raw48", "Raw49", "Raw50",
    "Raw51", "Raw52", "Raw53", "Raw54", "Raw55", "Raw56", "Raw57", "Raw58", "Raw59", "Raw60",
    "Raw61", "Raw62", "Raw63", "Raw64", "Raw65", "Raw66", "Raw67", "Raw68", "Raw69", "Raw70",
    "Raw71", "Raw72", "Raw73", "Raw74", "Raw75", "Raw76", "Raw77", "Raw78", "Raw79", "Raw80",
    "Raw81", "Raw82", "Raw83", "Raw84", "Raw85", "Raw86", "Raw87", "Raw88", "Raw89", "Raw90",
    "Raw91", "Raw92", "Raw93", "Raw94", "Raw95", "Raw96", "Raw97", "Raw98", "Raw99", "Raw100",
    "Raw101", "Raw102", "Raw103", "Raw104", "Raw105", "Raw106", "Raw107", "Raw108", "Raw109",
    "Raw110", "Raw111", "Raw112", "Raw113", "Raw114", "Raw115", "Raw116", "Raw117", "Raw118",
    "Raw119", "Raw120", "Raw121", "Raw122", "Raw123", "Raw124", "Raw125", "Raw126", "Raw127",
    "Raw128",
];

impl Data {
    const RAW_BYTES_MAX: usize = 128;
    const BIG_RAW: u8 = 136;
    const BIG_RAW_BYTES_MAX: usize = 512;

    /// The shortest field that holds `bytes`.
    pub fn of(bytes: Vec<u8>) -> Self {
        if bytes.len() > Self::RAW_BYTES_MAX { Self::BigRaw(bytes) } else { Self::Raw(bytes) }
    }

    /// The bytes of the field.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::None => &[],
            Self::Raw(bytes) | Self::BigRaw(bytes) => bytes,
        }
    }
}

impl Encode for Data {
    fn size_hint(&self) -> usize {
        self.bytes().len() + 6
    }

    fn encode_to<T: Output + ?Sized>(&self, output: &mut T) {
        match self {
            Self::None => output.push_byte(0),
            Self::Raw(bytes) => {
                // At most 128 by construction and by decoding.
                output.push_byte((bytes.len().min(Self::RAW_BYTES_MAX) + 1) as u8);
                output.write(bytes);
            }
            Self::BigRaw(bytes) => {
                output.push_byte(Self::BIG_RAW);
                bytes.encode_to(output);
            }
        }
    }
}

impl Decode for Data {
    fn decode<I: Input>(input: &mut I) -> Result<Self, CodecError> {
        match input.read_byte()? {
            0 => Ok(Self::None),
            kind @ 1..=129 => {
                let mut bytes = vec![0; usize::from(kind) - 1];
                input.read(&mut bytes)?;
                Ok(Self::Raw(bytes))
            }
            Self::BIG_RAW => {
                let bytes = Vec::<u8>::decode(input)?;
                if bytes.len() > Self::BIG_RAW_BYTES_MAX {
                    return Err("more than 512 bytes in a field of a commitment".into());
                }
                Ok(Self::BigRaw(bytes))
            }
            _ => Err("a kind of field of a commitment that is not supported".into()),
        }
    }
}

impl TypeInfo for Data {
    type Identity = Self;

    fn type_info() -> Type {
        /// `Raw0` to `Raw128`, an array of that many bytes each.
        fn raw<const N: usize>(variants: Variants) -> Variants {
            let name: &'static str = RAW_NAMES[N];
            variants.variant(name, |variant| {
                variant
                    .index((N + 1) as u8)
                    .fields(Fields::unnamed().field(|field| field.ty::<[u8; N]>()))
            })
        }
        macro_rules! all {
            ($variants:expr; $($n:literal)*) => {{
                let variants = $variants;
                $( let variants = raw::<$n>(variants); )*
                variants
            }};
        }
        let variants = Variants::new().variant("None", |variant| variant.index(0));
        let variants = all!(variants; 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23
            24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52
            53 54 55 56 57 58 59 60 61 62 63 64 65 66 67 68 69 70 71 72 73 74 75 76 77 78 79 80 81
            82 83 84 85 86 87 88 89 90 91 92 93 94 95 96 97 98 99 100 101 102 103 104 105 106 107
            108 109 110 111 112 113 114 115 116 117 118 119 120 121 122 123 124 125 126 127 128);
        let variants = variants.variant("BigRaw", |variant| {
            variant
                .index(Self::BIG_RAW)
                .fields(Fields::unnamed().field(|field| field.ty::<Vec<u8>>()))
        });
        Type::builder().path(Path::new("Data", module_path!())).variant(variants)
    }
}
