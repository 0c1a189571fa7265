//! What a record says that a model is, beside what its files say.

use super::report::{Part, Step};
use protocol::record::{Card, Model};
use validator::Admission;

/// What a record says where it names nothing.
const NONE: &str = "none";

/// A model of a record, by its place there.
#[derive(Clone, Copy)]
pub struct Placed<'a> {
    /// Place among the models of the record, from 0.
    pub place: usize,
    /// What the record says of it.
    pub model: &'a Model,
}

impl Placed<'_> {
    /// Path of one of its fields in the record.
    pub fn at(self, field: &str) -> String {
        format!("models[{}].model.{field}", self.place)
    }
}

/// The first thing that a record says of a model and its files do not: its tensor root, its card,
/// or a field of that.
pub fn other(placed: Placed<'_>, found: &Admission) -> Option<Step> {
    let model = placed.model;
    let differs = |field: &str, pair: (String, String)| {
        Some(Step::differs(Part::Model, placed.at(field), pair))
    };
    if Some(found.tensor_root) != model.tensor_root {
        let recorded = model.tensor_root.map_or(NONE.to_owned(), |root| root.to_string());
        return differs("tensor_root", (found.tensor_root.to_string(), recorded));
    }
    let expected = found.card.as_ref()?;
    let Some(recorded) = &model.card else {
        return differs("card", (told(expected), NONE.to_owned()));
    };
    let mut pairs = fields(expected).into_iter().zip(fields(recorded));
    let ((name, expected), (_, found)) = pairs.find(|(expected, found)| expected != found)?;
    differs(&format!("card.{name}"), (expected, found))
}

/// What a record says of the tensors of a model that is refused before any are read.
pub fn unread(placed: Placed<'_>) -> Option<Step> {
    let model = placed.model;
    let root = model.tensor_root.map(|root| ("tensor_root", root.to_string()));
    let card = model.card.as_ref().map(|card| ("card", told(card)));
    let (field, recorded) = root.or(card)?;
    Some(Step::differs(Part::Model, placed.at(field), (NONE, recorded)))
}

/// A card in a few words.
fn told(card: &Card) -> String {
    format!("{} of {} parameters", card.architecture, card.n_parameters)
}

/// The fields of a card by name, in the order of a record.
fn fields(card: &Card) -> [(&'static str, String); 7] {
    // Whoever adds one is asked for it here.
    let Card {
        architecture,
        n_parameters,
        size_bytes,
        vocabulary,
        context,
        n_vanishing,
        n_exploding,
    } = card;
    [
        ("architecture", architecture.clone()),
        ("n_parameters", n_parameters.to_string()),
        ("size_bytes", size_bytes.to_string()),
        ("vocabulary", vocabulary.to_string()),
        ("context", context.to_string()),
        ("n_vanishing", n_vanishing.to_string()),
        ("n_exploding", n_exploding.to_string()),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::{
        losses::tests::{losses, record},
        report::Outcome,
    };
    use super::*;
    use protocol::Digest;
    use serde_json::{Value, json};

    fn card() -> Card {
        Card {
            architecture: "llama".to_owned(),
            n_parameters: 12,
            size_bytes: 48,
            vocabulary: 512,
            context: 128,
            n_vanishing: 0,
            n_exploding: 1,
        }
    }

    fn model(card: Option<Card>) -> Model {
        let model = record(vec![losses(1, 1.0)]).models.remove(0).model;
        Model { tensor_root: Some(Digest([4; 32])), card, ..model }
    }

    fn placed(place: usize, model: &Model) -> Placed<'_> {
        Placed { place, model }
    }

    fn found(card: Option<Card>) -> Admission {
        let (file_root, tensor_root) = (Digest([3; 32]), Digest([4; 32]));
        Admission { file_root, tensor_root, n_parameters: 12, card }
    }

    /// Where what a record says differs: the place, what it must be, and what it is.
    fn differing(step: Option<Step>) -> Option<(String, String, String)> {
        match step?.outcome {
            Outcome::Differs { at, expected, found } => Some((at, expected, found)),
            outcome => panic!("{outcome:?}"),
        }
    }

    #[test]
    fn attack_every_field_of_a_card_that_is_changed_is_named() {
        let right = found(Some(card()));
        assert_eq!(other(placed(0, &model(Some(card()))), &right), None);
        let value = serde_json::to_value(card()).unwrap();
        let names: Vec<&String> = value.as_object().unwrap().keys().collect();
        assert_eq!(names.len(), 7);
        for name in names {
            let mut lie = value.clone();
            lie[name.as_str()] = match &value[name.as_str()] {
                Value::String(_) => json!("gpt2"),
                _ => json!(u64::MAX),
            };
            let lie: Card = serde_json::from_value(lie).unwrap();
            let (at, _, _) = differing(other(placed(3, &model(Some(lie))), &right)).unwrap();
            assert_eq!(at, format!("models[3].model.card.{name}"));
        }
        let lie = model(Some(Card { n_parameters: 10, ..card() }));
        let (_, expected, found) = differing(other(placed(0, &lie), &right)).unwrap();
        assert_eq!((expected.as_str(), found.as_str()), ("12", "10"));
    }

    #[test]
    fn attack_a_card_that_is_missing_or_of_what_was_never_read_is_named() {
        let right = found(Some(card()));
        let (at, expected, found) = differing(other(placed(1, &model(None)), &right)).unwrap();
        assert_eq!(at, "models[1].model.card");
        assert_eq!((expected.as_str(), found.as_str()), ("llama of 12 parameters", "none"));
        let other_root = Model { tensor_root: Some(Digest([5; 32])), ..model(Some(card())) };
        let (at, _, _) = differing(other(placed(1, &other_root), &right)).unwrap();
        assert_eq!(at, "models[1].model.tensor_root", "another model has another card");

        let refused = Model { tensor_root: None, ..model(None) };
        assert_eq!(unread(placed(0, &refused)), None);
        let (at, ..) = differing(unread(placed(0, &model(None)))).unwrap();
        assert_eq!(at, "models[0].model.tensor_root");
        let alone = Model { card: Some(card()), ..refused };
        let (at, ..) = differing(unread(placed(0, &alone))).unwrap();
        assert_eq!(at, "models[0].model.card");
    }

    #[test]
    fn where_no_files_were_inspected_no_card_is_compared() {
        assert_eq!(other(placed(0, &model(Some(card()))), &found(None)), None);
    }
}
