//! Pages of networks whose records are real ones: made and signed as validators make them.

mod alike;
mod api;
mod asked;
mod crawl;
mod crowns;
mod described;
mod drawn;
mod fed;
mod forged;
mod kept;
mod lists;
mod losses;
mod markup;
mod network;
mod pages;
mod past;
mod places;
mod queries;
mod reading;
mod scene;
mod served;
mod spoken;
mod strangers;
mod tables;
mod told;
mod xml;
