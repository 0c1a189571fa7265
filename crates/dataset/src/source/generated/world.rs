//! The facts that all generated documents of a world agree on.

use protocol::{Seed, seed::uniform_below};
use rand_chacha::ChaCha20Rng;

const COLORS: [&str; 12] = [
    "red", "blue", "green", "white", "black", "brown", "grey", "yellow", "golden", "silver",
    "purple", "pink",
];
const FOODS: [&str; 16] = [
    "bread", "honey", "soup", "cheese", "apples", "pears", "plums", "nuts", "beans", "rice",
    "cakes", "figs", "eggs", "corn", "berries", "turnips",
];
const TRADES: [&str; 16] = [
    "baker",
    "miller",
    "smith",
    "weaver",
    "tailor",
    "potter",
    "carpenter",
    "fisher",
    "shepherd",
    "farmer",
    "painter",
    "sailor",
    "gardener",
    "teacher",
    "cook",
    "hunter",
];
const LANDS: [&str; 10] = [
    "by the river",
    "in the hills",
    "near the sea",
    "under the cliffs",
    "in the deep wood",
    "on the lake",
    "behind the moor",
    "at the crossroads",
    "beside the old mill",
    "on the green plain",
];
const ANIMALS: [&str; 20] = [
    "fox", "goat", "hen", "duck", "dog", "cat", "crow", "hare", "frog", "mouse", "bear", "wolf",
    "swan", "sheep", "pony", "goose", "beetle", "turtle", "badger", "robin",
];
const HABITS: [&str; 10] = [
    "digs holes",
    "sings at night",
    "sleeps in the barn",
    "steals ribbons",
    "swims well",
    "climbs walls",
    "hides in the hay",
    "runs in circles",
    "hates the rain",
    "loves music",
];
const PET_NAMES: [&str; 20] = [
    "Pip", "Moss", "Biscuit", "Tansy", "Bramble", "Nettle", "Fern", "Pepper", "Rusty", "Daisy",
    "Clover", "Sooty", "Button", "Patch", "Ginger", "Shadow", "Comet", "Pebble", "Whisker",
    "Hazel",
];
const OBJECTS: [&str; 24] = [
    "lamp", "drum", "kettle", "ladder", "rope", "bell", "basket", "knife", "mirror", "spoon",
    "chair", "blanket", "candle", "flute", "hammer", "wheel", "bucket", "shovel", "clock",
    "button", "ribbon", "key", "map", "coat",
];
const MATERIALS: [&str; 12] = [
    "wood", "iron", "copper", "glass", "wool", "clay", "silk", "stone", "leather", "tin", "bone",
    "paper",
];
const SYLLABLES: [&str; 24] = [
    "ma", "ri", "to", "la", "ne", "bo", "su", "ki", "da", "ve", "lo", "ra", "mi", "no", "te", "fa",
    "ga", "hu", "ja", "pe", "si", "wen", "tol", "bar",
];
const NAME_ENDS: [&str; 5] = ["", "n", "s", "l", "ra"];
const STEMS: [&str; 20] = [
    "tol", "mar", "bren", "hal", "wes", "dun", "kes", "lor", "ash", "cor", "fen", "gil", "har",
    "ivel", "mel", "nor", "pel", "rud", "sten", "thor",
];
const PLACE_ENDS: [&str; 10] =
    ["beck", "ford", "ham", "wick", "mere", "ton", "dale", "gate", "holt", "bury"];

/// How many of each kind a world has.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub(super) n_people: usize,
    pub(super) n_places: usize,
    pub(super) n_animals: usize,
    pub(super) n_objects: usize,
}

impl Sizes {
    /// Enough facts that a small model goes on learning them for a long time.
    pub(super) const FULL: Self =
        Self { n_people: 64, n_places: 24, n_animals: ANIMALS.len(), n_objects: OBJECTS.len() };
}

/// A fixed table of people, places, animals and things.
pub(super) struct World {
    pub(super) people: Vec<Person>,
    pub(super) places: Vec<Place>,
    pub(super) animals: Vec<Animal>,
    pub(super) objects: Vec<Object>,
}

/// Somebody that documents are about; other entries are named by their index.
pub(super) struct Person {
    pub(super) name: String,
    pub(super) is_female: bool,
    pub(super) home: usize,
    pub(super) friend: usize,
    pub(super) trade: &'static str,
    pub(super) color: &'static str,
    pub(super) food: &'static str,
    pub(super) pet: usize,
    pub(super) pet_name: &'static str,
}

pub(super) struct Place {
    pub(super) name: String,
    pub(super) land: &'static str,
    pub(super) goods: &'static str,
    pub(super) gate_color: &'static str,
}

pub(super) struct Animal {
    pub(super) name: &'static str,
    pub(super) color: &'static str,
    pub(super) food: &'static str,
    pub(super) habit: &'static str,
}

pub(super) struct Object {
    pub(super) name: &'static str,
    pub(super) material: &'static str,
    pub(super) price: u64,
}

impl World {
    /// The world of a number; the same number gives the same world everywhere.
    pub(super) fn new(number: u64, sizes: Sizes) -> Self {
        let rng = &mut Seed::of_number(number).derive("generated world").stream();
        let places = names(rng, sizes.n_places, place_name)
            .into_iter()
            .map(|name| Place {
                name,
                land: any(rng, &LANDS),
                goods: any(rng, &FOODS),
                gate_color: any(rng, &COLORS),
            })
            .collect();
        let people = names(rng, sizes.n_people, person_name)
            .into_iter()
            .enumerate()
            .map(|(i, name)| person(rng, i, name, sizes))
            .collect();
        let animals = ANIMALS[..sizes.n_animals]
            .iter()
            .map(|name| Animal {
                name,
                color: any(rng, &COLORS),
                food: any(rng, &FOODS),
                habit: any(rng, &HABITS),
            })
            .collect();
        let objects = OBJECTS[..sizes.n_objects]
            .iter()
            .map(|name| Object {
                name,
                material: any(rng, &MATERIALS),
                price: 1 + uniform_below(rng, 9),
            })
            .collect();
        Self { people, places, animals, objects }
    }
}

fn person(rng: &mut ChaCha20Rng, i: usize, name: String, sizes: Sizes) -> Person {
    Person {
        name,
        is_female: uniform_below(rng, 2) == 0,
        home: below(rng, sizes.n_places),
        friend: (i + 1 + below(rng, sizes.n_people - 1)) % sizes.n_people,
        trade: any(rng, &TRADES),
        color: any(rng, &COLORS),
        food: any(rng, &FOODS),
        pet: below(rng, sizes.n_animals),
        pet_name: any(rng, &PET_NAMES),
    }
}

fn below(rng: &mut ChaCha20Rng, bound: usize) -> usize {
    uniform_below(rng, bound as u64) as usize
}

fn any(rng: &mut ChaCha20Rng, words: &[&'static str]) -> &'static str {
    words[below(rng, words.len())]
}

/// Draws names until `n` are found of which none begins another.
///
/// Two names of which one begins the other could not be told apart where they end.
fn names(rng: &mut ChaCha20Rng, n: usize, draw: fn(&mut ChaCha20Rng) -> String) -> Vec<String> {
    let mut found: Vec<String> = Vec::with_capacity(n);
    while found.len() < n {
        let name = draw(rng);
        if !found.iter().any(|other| other.starts_with(&name) || name.starts_with(other.as_str())) {
            found.push(name);
        }
    }
    found
}

fn person_name(rng: &mut ChaCha20Rng) -> String {
    let (first, second) = (any(rng, &SYLLABLES), any(rng, &SYLLABLES));
    capitalized(&[first, second, any(rng, &NAME_ENDS)].concat())
}

fn place_name(rng: &mut ChaCha20Rng) -> String {
    let stem = any(rng, &STEMS);
    capitalized(&[stem, any(rng, &PLACE_ENDS)].concat())
}

fn capitalized(word: &str) -> String {
    let (first, rest) = word.split_at(1);
    first.to_uppercase() + rest
}
