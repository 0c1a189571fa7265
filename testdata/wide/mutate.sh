#!/usr/bin/env bash
# Changes the engine's arithmetic in one place at a time, in a copy of the committed tree, and tells which tests notice.
# Fails unless the tests of the wide models notice every change. Some minutes for each change.
#
#     bash testdata/wide/mutate.sh [WORD ...]      # only changes whose description holds a word
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
copy="$(mktemp -d)"
trap 'rm -rf "$copy"' EXIT
git archive HEAD | tar -x -C "$copy"
# Not the usual one: cargo would take the changed engine for the real one.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}/mutated"
words=("$@") unseen=0

# The columns of the table; the last two must notice.
tests=(golden::losses_agree_with_transformers wide::losses_of_wide_models_agree_with_transformers
  identity::every_golden_model_has_one_hash
  identity::losses_have_one_hash_for_threads_batches_orders_and_instructions
  wide::every_wide_model_has_one_hash
  definition::the_definition_written_a_second_time_gives_the_bits_of_the_wide_models)

# is_wanted TEXT: whether the text holds one of the words, or there are none.
is_wanted() {
  [ "${#words[@]}" -gt 0 ] || return 0
  local word
  for word in "${words[@]}"; do [[ "$1" != *"$word"* ]] || return 0; done
  return 1
}

# has_noticed OUTPUT TEST: "yes" if the test failed, "no" if it passed.
has_noticed() {
  if grep -q "^test $2 \.\.\. FAILED$" "$1"; then echo yes
  elif grep -q "^test $2 \.\.\. ok$" "$1"; then echo no
  else echo "$2 did not run" >&2; exit 1; fi
}

# change DESCRIPTION FILE PERL: applies the expression to the file, and must not leave it as it was.
change() {
  local what="$1" file="$copy/crates/engine/src/kernel/$2" perl="$3" output="$copy/output"
  is_wanted "$what" || return 0
  cp "$file" "$copy/before"
  perl -0pi -e "$perl" "$file"
  ! cmp -s "$file" "$copy/before" || { echo "$what: changes nothing any more" >&2; exit 1; }
  (cd "$copy" && cargo test -q -p engine --test it --no-run) || { echo "$what: does not build" >&2; exit 1; }
  (cd "$copy" && cargo test -p engine --test it -- --exact "${tests[@]}") >"$output" 2>/dev/null || true
  cp "$copy/before" "$file"
  local row="| $what |" test seen
  for test in "${tests[@]}"; do
    seen="$(has_noticed "$output" "$test")"
    row+=" $seen |"
    case "$seen $test" in "no wide::every"* | "no definition::"*) unseen=$((unseen + 1)) ;; esac
  done
  echo "$row"
}

echo "| change | losses, small | losses, wide | hashes, small | hash, recipe | hashes, wide | definition, wide |"
echo "| --- | --- | --- | --- | --- | --- | --- |"
change "blocks of 512 inputs and positions" gemm.rs 's/(DEPTH_BLOCK: usize = )256/${1}512/'
change "blocks of 512 inputs alone" gemm.rs 's/\bDEPTH_BLOCK\b(?!:|\])/512/g'
change "blocks of 512 positions alone" attention.rs 's/(?<!\{)\bDEPTH_BLOCK\b/512/g'
change "blocks of 128 inputs" gemm.rs 's/\bDEPTH_BLOCK\b(?!:|\])/128/g'
change "blocks of 128 positions" attention.rs 's/(?<!\{)\bDEPTH_BLOCK\b/128/g'
change "blocks of 512 tokens" gemm.rs 's/(PANEL_BLOCK: usize = )16/${1}32/'
change "the third block of inputs forgets the second" gemm.rs 's/self\.depth\.start > 0/self.depth.start == DEPTH_BLOCK/'
change "the third block of positions forgets the second" attention.rs 's/start > first \{/start == first + DEPTH_BLOCK {/'
change "packed rows of the third block are those of the second" gemm.rs \
  's/row \* self\.n_in \+ self\.depth\.start \* M/row * self.n_in + self.depth.start.min(DEPTH_BLOCK) * M/'
change "neighbours added first" simd.rs \
  's/for width in \[8, 4, 2, 1\] \{\s+for lane in 0\.\.width \{(\s+lanes\[lane\] \+= )/for width in [1, 2, 4, 8] {\nfor lane in (0..LANES).step_by(2 * width) {$1/'
change "gain before scale" norm.rs \
  's/simd\.mul\(simd\.mul\(simd\.load\(x\), scale\), simd\.load\(gain\)\)/simd.mul(simd.mul(simd.load(x), simd.load(gain)), scale)/'
change "squares rounded" norm.rs 's/simd\.fma\(x, x, sum\)/simd.add(simd.mul(x, x), sum)/g'
change "product rounded before the bias of a norm" norm.rs \
  's/simd\.fma\(x, simd\.load\(gain\), simd\.load\(bias\)\)/simd.add(simd.mul(x, simd.load(gain)), simd.load(bias))/'
change "residual before bias" gemm.rs \
  's/(impl Epilogue for Add.*?)let sums = with_bias\(simd, self\.0\.bias, panel, sums\);(.*?)store\(simd, simd\.add\(load\(simd, out\), sum\), out\);/$1$2let [sum] = with_bias(simd, self.0.bias, panel, [simd.add(load(simd, out), sum)]);\nstore(simd, sum, out);/s'
change "division by the sum of shares" attention.rs \
  's/= 1\.0 \/ simd\.sum\(sum\)/= simd.sum(sum)/; s/simd\.mul\(sum, simd\.splat\(scales/simd.div(sum, simd.splat(scales/'
change "rotation contracted the other way" rotate.rs \
  's/a\.mul_add\(\*cosine, -\(b \* sine\)\)/(-b).mul_add(*sine, a * cosine)/; s/b\.mul_add\(\*cosine, a \* sine\)/a.mul_add(*sine, b * cosine)/'
change "SiLU by one over its divisor" activation.rs \
  's/simd\.div\(x, simd\.add\(simd\.splat\(1\.0\), exp_lanes\(simd, minus\)\)\)/simd.mul(x, simd.div(simd.splat(1.0), simd.add(simd.splat(1.0), exp_lanes(simd, minus))))/'
change "blocks of tokens combined in single precision" head.rs \
  's/self\.sum \+= sum \* math::exp\(top - self\.top\);/self.sum = f64::from((self.sum + sum * math::exp(top - self.top)) as f32);/'
[ "$unseen" -eq 0 ] || { echo "the wide models let $unseen changes pass" >&2; exit 1; }
