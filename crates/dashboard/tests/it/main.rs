//! Pages of networks whose records are real ones: made and signed as validators make them.

mod api;
mod asked;
mod described;
mod drawn;
mod fed;
mod lists;
mod losses;
mod network;
mod pages;
mod reading;
mod scene;
mod served;
mod spoken;
mod strangers;
mod tables;
mod told;
mod xml;
