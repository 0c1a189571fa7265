//! What each strategy does with its hands, on a bench where the crown is given by hand.

mod all;
mod bench;
mod copies;
mod exam;
mod hands;
mod honest;
mod timing;
mod withhold;
