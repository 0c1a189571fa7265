//! What two runtimes say of the same things, held side by side.

use scale_info::{Field, PortableRegistry, TypeDef, Variant, form::PortableForm};
use std::collections::BTreeSet;
use subxt::metadata::{Metadata, PalletMetadata, StorageEntryMetadata};

type Fields = [Field<PortableForm>];
type Variants = [Variant<PortableForm>];

/// Two runtimes, and what the first tells that is not so in the second.
pub(crate) struct Alike<'a> {
    ours: &'a Metadata,
    theirs: &'a Metadata,
    found: Vec<String>,
    /// Pairs of types that are being compared, or were: types may hold themselves.
    seen: BTreeSet<(u32, u32)>,
}

/// What `ours` tells of pallets, calls, storage, events, errors, constants, extensions and APIs
/// that is not so in `theirs`; one line each.
///
/// Names, numbers, hashers, whether a value has a default, and the shapes of all types must be the
/// same. Types that only wrap another are that other, as they are on the wire. Enumerations may
/// have fewer variants here. Values of constants and defaults are not compared.
pub(crate) fn differences(ours: &Metadata, theirs: &Metadata) -> Vec<String> {
    let mut alike = Alike { ours, theirs, found: Vec::new(), seen: BTreeSet::new() };
    for pallet in ours.pallets() {
        match theirs.pallet_by_name(pallet.name()) {
            Some(other) => alike.pallet(&pallet, &other),
            None => alike.note(pallet.name(), "is not there"),
        }
    }
    alike.extensions();
    alike.apis();
    alike.found
}

impl Alike<'_> {
    fn note(&mut self, place: &str, what: &str) {
        self.found.push(format!("{place}: {what}"));
    }

    /// Notes where two things that can be printed are not the same.
    fn same<T: PartialEq + std::fmt::Debug>(&mut self, place: &str, ours: &T, theirs: &T) {
        if ours != theirs {
            self.note(place, &format!("{ours:?}, not {theirs:?}"));
        }
    }

    fn pallet(&mut self, ours: &PalletMetadata<'_>, theirs: &PalletMetadata<'_>) {
        let name = ours.name();
        let numbers =
            |of: &PalletMetadata<'_>| (of.call_index(), of.event_index(), of.error_index());
        self.same(&format!("number of {name}"), &numbers(ours), &numbers(theirs));
        let lists = [
            ("call", ours.call_variants(), theirs.call_variants()),
            ("event", ours.event_variants(), theirs.event_variants()),
            ("error", ours.error_variants(), theirs.error_variants()),
        ];
        for (kind, ours, theirs) in lists {
            let place = format!("{kind} {name}");
            self.variants(&place, ours.unwrap_or_default(), theirs.unwrap_or_default());
        }
        for constant in ours.constants() {
            let place = format!("constant {name}.{}", constant.name());
            match theirs.constant_by_name(constant.name()) {
                Some(other) => self.types(&place, constant.ty(), other.ty()),
                None => self.note(&place, "is not there"),
            }
        }
        let Some(storage) = ours.storage() else { return };
        let other = theirs.storage();
        let prefix = other.map(|other| other.prefix());
        self.same(&format!("prefix of {name}"), &Some(storage.prefix()), &prefix);
        for entry in storage.entries() {
            let place = format!("storage {name}.{}", entry.name());
            match other.and_then(|other| other.entry_by_name(entry.name())) {
                Some(other) => self.entry(&place, entry, other),
                None => self.note(&place, "is not there"),
            }
        }
    }

    fn entry(&mut self, place: &str, ours: &StorageEntryMetadata, theirs: &StorageEntryMetadata) {
        let modifier = |of: &StorageEntryMetadata| match of.default_value() {
            Some(_) => "with a default",
            None => "optional",
        };
        self.same(place, &modifier(ours), &modifier(theirs));
        let hashers =
            |of: &StorageEntryMetadata| of.keys().map(|key| key.hasher).collect::<Vec<_>>();
        self.same(place, &hashers(ours), &hashers(theirs));
        for (i, (ours, theirs)) in ours.keys().zip(theirs.keys()).enumerate() {
            self.types(&format!("{place}, key {i}"), ours.key_id, theirs.key_id);
        }
        self.types(&format!("{place}, value"), ours.value_ty(), theirs.value_ty());
    }

    /// The extensions of ours must be there, in the same order; a runtime may have more.
    fn extensions(&mut self) {
        let list = |of: &Metadata| {
            let all = of.extrinsic().transaction_extensions_to_use_for_encoding();
            all.map(|each| (each.identifier().to_owned(), each.extra_ty(), each.additional_ty()))
                .collect::<Vec<_>>()
        };
        let theirs = list(self.theirs);
        let mut rest = theirs.iter();
        for (name, extra, additional) in list(self.ours) {
            let place = format!("extension {name}");
            match rest.find(|(other, ..)| *other == name) {
                Some((_, other_extra, other_additional)) => {
                    self.types(&place, extra, *other_extra);
                    self.types(&place, additional, *other_additional);
                }
                None => self.note(&place, "is not there, or not in this place"),
            }
        }
    }

    fn apis(&mut self) {
        for api in self.ours.runtime_api_traits() {
            let other = self.theirs.runtime_api_trait_by_name(api.name());
            for method in api.methods() {
                let place = format!("API {}.{}", api.name(), method.name());
                let other = other.as_ref().and_then(|api| api.method_by_name(method.name()));
                let Some(other) = other else {
                    self.note(&place, "is not there");
                    continue;
                };
                let names = |inputs: Vec<&str>| inputs.join(", ");
                let ours = method.inputs().map(|input| &*input.name).collect();
                let theirs = other.inputs().map(|input| &*input.name).collect();
                self.same(&format!("{place}, arguments"), &names(ours), &names(theirs));
                for (ours, theirs) in method.inputs().zip(other.inputs()) {
                    self.types(&format!("{place}({})", ours.name), ours.id, theirs.id);
                }
                self.types(&format!("{place}, result"), method.output_ty(), other.output_ty());
            }
        }
    }

    /// Those of ours must be among theirs.
    fn variants(&mut self, place: &str, ours: &Variants, theirs: &Variants) {
        for variant in ours {
            let place = format!("{place}.{}", variant.name);
            match theirs.iter().find(|other| other.name == variant.name) {
                Some(other) => {
                    self.same(&place, &variant.index, &other.index);
                    self.fields(&place, &variant.fields, &other.fields);
                }
                None => self.note(&place, "is not there"),
            }
        }
    }

    fn fields(&mut self, place: &str, ours: &Fields, theirs: &Fields) {
        let names = |fields: &Fields| {
            let name = |(i, field): (usize, &Field<_>)| field.name.clone().unwrap_or(i.to_string());
            fields.iter().enumerate().map(name).collect::<Vec<String>>()
        };
        let (our_names, their_names) = (names(ours), names(theirs));
        if our_names != their_names {
            let without = |these: &[String], others: &[String]| {
                let only = these.iter().filter(|name| !others.contains(name)).cloned();
                only.collect::<Vec<String>>().join(" ")
            };
            let (more, less) =
                (without(&our_names, &their_names), without(&their_names, &our_names));
            // Without both, the order is another.
            return self.note(place, &format!("fields here alone [{more}], there alone [{less}]"));
        }
        for ((name, ours), theirs) in our_names.iter().zip(ours).zip(theirs) {
            self.types(&format!("{place}.{name}"), ours.ty.id, theirs.ty.id);
        }
    }

    fn types(&mut self, place: &str, ours: u32, theirs: u32) {
        let (ours, theirs) = (core(self.ours.types(), ours), core(self.theirs.types(), theirs));
        if !self.seen.insert((ours, theirs)) {
            return;
        }
        let (our_types, their_types) = (self.ours.types(), self.theirs.types());
        let definition = |types: &PortableRegistry, id| types.resolve(id).unwrap().type_def.clone();
        match (definition(our_types, ours), definition(their_types, theirs)) {
            (TypeDef::Primitive(ours), TypeDef::Primitive(theirs)) => {
                self.same(place, &ours, &theirs);
            }
            (TypeDef::Composite(ours), TypeDef::Composite(theirs)) => {
                self.fields(place, &ours.fields, &theirs.fields);
            }
            (TypeDef::Variant(ours), TypeDef::Variant(theirs)) => {
                self.variants(place, &ours.variants, &theirs.variants);
            }
            (TypeDef::Sequence(ours), TypeDef::Sequence(theirs)) => {
                self.types(&format!("{place}[]"), ours.type_param.id, theirs.type_param.id);
            }
            (TypeDef::Array(ours), TypeDef::Array(theirs)) => {
                self.same(place, &ours.len, &theirs.len);
                self.types(&format!("{place}[]"), ours.type_param.id, theirs.type_param.id);
            }
            (TypeDef::Tuple(ours), TypeDef::Tuple(theirs)) => {
                self.same(place, &ours.fields.len(), &theirs.fields.len());
                for (i, (ours, theirs)) in ours.fields.iter().zip(&theirs.fields).enumerate() {
                    self.types(&format!("{place}.{i}"), ours.id, theirs.id);
                }
            }
            (TypeDef::Compact(ours), TypeDef::Compact(theirs)) => {
                self.types(place, ours.type_param.id, theirs.type_param.id);
            }
            (TypeDef::Tuple(ours), TypeDef::Composite(theirs))
                if ours.fields.is_empty() && theirs.fields.is_empty() => {}
            (ours, theirs) => self.note(place, &format!("{}, not {}", kind(&ours), kind(&theirs))),
        }
    }
}

/// The type that a type only wraps, if it does, which stands on the wire as it is.
fn core(types: &PortableRegistry, mut id: u32) -> u32 {
    loop {
        id = match &types.resolve(id).unwrap().type_def {
            TypeDef::Composite(composite) => match &composite.fields[..] {
                [field] if field.name.is_none() => field.ty.id,
                _ => return id,
            },
            TypeDef::Tuple(tuple) => match &tuple.fields[..] {
                [field] => field.id,
                _ => return id,
            },
            _ => return id,
        }
    }
}

fn kind(definition: &TypeDef<PortableForm>) -> String {
    match definition {
        TypeDef::Composite(_) => "fields".to_owned(),
        TypeDef::Variant(_) => "variants".to_owned(),
        TypeDef::Sequence(_) => "a list".to_owned(),
        TypeDef::Array(array) => format!("{} in a row", array.len),
        TypeDef::Tuple(_) => "a tuple".to_owned(),
        TypeDef::Primitive(primitive) => format!("{primitive:?}"),
        TypeDef::Compact(_) => "a compact number".to_owned(),
        TypeDef::BitSequence(_) => "bits".to_owned(),
    }
}
