//! Pages of networks whose records are real ones: made and signed as validators make them.

mod alike;
mod api;
mod crawl;
mod crowns;
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
mod strangers;
