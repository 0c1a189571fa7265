//! Baskets of tokens that stake on the root network may hold: nobody has one here, where stake is
//! plain TAO; clients ask before they show a balance.

use super::Method;
use crate::wire::primitives::AccountId32;
use parity_scale_codec::{Decode, Encode};
use scale_info::meta_type;

/// Validator, tokens and worth of a basket.
type Position = (AccountId32, u64, u64);

pub(super) fn methods() -> Vec<Method> {
    let account = meta_type::<AccountId32>;
    vec![
        Method {
            api: "BetaBasketRuntimeApi",
            name: "get_root_basket_positions",
            doc: "Baskets of a coldkey: none.",
            inputs: vec![("coldkey", account())],
            output: meta_type::<Vec<Position>>(),
            answer: |arguments, _| {
                AccountId32::decode(arguments)?;
                Ok(Vec::<Position>::new().encode())
            },
        },
        Method {
            api: "BetaBasketRuntimeApi",
            name: "get_root_basket_owed",
            doc: "What baskets owe to a coldkey, in rao: nothing.",
            inputs: vec![("coldkey", account())],
            output: meta_type::<u64>(),
            answer: |arguments, _| {
                AccountId32::decode(arguments)?;
                Ok(0_u64.encode())
            },
        },
        Method {
            api: "BetaBasketRuntimeApi",
            name: "get_basket_payout",
            doc: "What a basket would pay to a coldkey, in rao: nothing.",
            inputs: vec![("hotkey", account()), ("coldkey", account())],
            output: meta_type::<u64>(),
            answer: |arguments, _| {
                <(AccountId32, AccountId32)>::decode(arguments)?;
                Ok(0_u64.encode())
            },
        },
    ]
}
