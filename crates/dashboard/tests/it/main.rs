//! Pages of networks whose records are real ones: made and signed as validators make them.

mod alike;
mod api;
mod lists;
mod losses;
mod network;
mod pages;
mod reading;
mod scene;
mod served;
mod strangers;
