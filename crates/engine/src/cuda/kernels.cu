// What a forward pass needs on a GPU beside products of matrices.
//
// Compiled at run time, once for each size of heads, without any header: BF16 is handled as its
// sixteen bits. Sums are formed in F32 and in a fixed order; there are no atomics. Rows of several
// sequences lie one below the other, as on the CPU.

typedef unsigned short bf16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define DEVICE static __device__ __forceinline__
#define WARP 32
#define LOG2_E 1.4426950408889634f
#define INFINITY_F __int_as_float(0x7f800000)

DEVICE float widen(bf16 x) { return __int_as_float((u32)x << 16); }

// Both rounded to the nearest, the first into the lower half.
DEVICE u32 pack(float low, float high) {
    u32 both;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
    return both;
}

DEVICE bf16 narrow(float x) { return (bf16)pack(x, 0.0f); }

DEVICE float warp_sum(float x) {
    for (int step = WARP / 2; step > 0; step /= 2) x += __shfl_xor_sync(~0u, x, step);
    return x;
}

// The sum over the threads of a block, given to all of them; `space` holds one number per warp.
DEVICE float block_sum(float x, float *space) {
    x = warp_sum(x);
    __syncthreads();
    if (threadIdx.x % WARP == 0) space[threadIdx.x / WARP] = x;
    __syncthreads();
    x = threadIdx.x % WARP < blockDim.x / WARP ? space[threadIdx.x % WARP] : 0.0f;
    return warp_sum(x);
}

// ---------------------------------------------------------------------------------------------
// Rows
// ---------------------------------------------------------------------------------------------

// A block for each row: its token's row of the table, scaled, plus that of its position, if any.
extern "C" __global__ void embed(float *out, const bf16 *table, const bf16 *positions,
                                 const u32 *tokens, const u32 *places, float scale, int width) {
    const u64 row = blockIdx.x;
    const bf16 *token = table + (u64)tokens[row] * width;
    const bf16 *place = positions ? positions + (u64)places[row] * width : 0;
    for (int i = threadIdx.x; i < width; i += blockDim.x) {
        float x = widen(token[i]) * scale;
        out[row * width + i] = place ? x + widen(place[i]) : x;
    }
}

// What becomes of a normed row.
#define TO_BF16 0
#define IN_PLACE 1
#define ADDED 2

// A block for each row of `in`; without gains a row stays as it is.
extern "C" __global__ void norm_rows(const float *in, void *out, const float *gain,
                                     const float *bias, float epsilon, int width, int mode) {
    __shared__ float space[WARP];
    const u64 start = (u64)blockIdx.x * width;
    in += start;
    float mean = 0.0f, scale = 1.0f;
    if (gain) {
        if (bias) {
            float sum = 0.0f;
            for (int i = threadIdx.x; i < width; i += blockDim.x) sum += in[i];
            mean = block_sum(sum, space) / width;
        }
        float squares = 0.0f;
        for (int i = threadIdx.x; i < width; i += blockDim.x) {
            float x = in[i] - mean;
            squares += x * x;
        }
        scale = 1.0f / sqrtf(block_sum(squares, space) / width + epsilon);
    }
    for (int i = threadIdx.x; i < width; i += blockDim.x) {
        float x = in[i];
        if (gain) x = (x - mean) * scale * gain[i] + (bias ? bias[i] : 0.0f);
        if (mode == TO_BF16) ((bf16 *)out)[start + i] = narrow(x);
        else if (mode == IN_PLACE) ((float *)out)[start + i] = x;
        else ((float *)out)[start + i] += x;
    }
}

// A warp for each group of `group` columns of a row: norms of queries or keys.
extern "C" __global__ void norm_heads(bf16 *rows, int stride, int first, const float *gain,
                                      const float *bias, float epsilon, int group, int n_columns,
                                      int n_rows) {
    const int per_row = n_columns / group;
    const u64 index = (u64)blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP;
    if (index >= (u64)n_rows * per_row) return;
    const int start = index % per_row * group, lane = threadIdx.x % WARP;
    bf16 *head = rows + index / per_row * stride + first + start;
    float mean = 0.0f, squares = 0.0f;
    if (bias) {
        float sum = 0.0f;
        for (int i = lane; i < group; i += WARP) sum += widen(head[i]);
        mean = warp_sum(sum) / group;
    }
    for (int i = lane; i < group; i += WARP) {
        float x = widen(head[i]) - mean;
        squares += x * x;
    }
    const float scale = 1.0f / sqrtf(warp_sum(squares) / group + epsilon);
    for (int i = lane; i < group; i += WARP) {
        float x = (widen(head[i]) - mean) * scale * gain[start + i];
        head[i] = narrow(bias ? x + bias[start + i] : x);
    }
}

// A block for each row: turns `n_heads` heads by the angles of the row's position.
extern "C" __global__ void rotate(bf16 *rows, int stride, const float *angles, const u32 *places,
                                  int n_pairs, int head_size, int n_heads) {
    bf16 *row = rows + (u64)blockIdx.x * stride;
    const float *cosines = angles + (u64)places[blockIdx.x] * 2 * n_pairs;
    for (int i = threadIdx.x; i < n_heads * n_pairs; i += blockDim.x) {
        const int pair = i % n_pairs;
        bf16 *low = row + i / n_pairs * head_size + pair, *high = low + n_pairs;
        const float a = widen(*low), b = widen(*high);
        const float cosine = cosines[pair], sine = cosines[n_pairs + pair];
        *low = narrow(a * cosine - b * sine);
        *high = narrow(b * cosine + a * sine);
    }
}

extern "C" __global__ void add_bias_bf16(bf16 *rows, const float *bias, int width, u64 n) {
    const u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) rows[i] = narrow(widen(rows[i]) + bias[i % width]);
}

extern "C" __global__ void add_bias_f32(float *rows, const float *bias, int width, u64 n) {
    const u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) rows[i] += bias[i % width];
}

// ---------------------------------------------------------------------------------------------
// Perceptron
// ---------------------------------------------------------------------------------------------

DEVICE float bend_one(float x, int activation) {
    switch (activation) {
        case 0: return x / (1.0f + expf(-x));
        case 1: return 0.5f * x * (1.0f + erff(x * 0.7071067811865476f));
        case 2: {
            float inner = 0.7978845608028654f * (x + 0.044715f * x * x * x);
            return 0.5f * x * (1.0f + tanhf(inner));
        }
        default: return x > 0.0f ? x : 0.0f;
    }
}

// Neighbours that a thread takes where rows are whole multiples of them.
#define BEND_STEP 8

// `out` is `bend(gate) * up`, or `bend(up)`.
extern "C" __global__ void bend(const bf16 *in, bf16 *out, const float *bias, int width,
                                int is_gated, int activation, u64 n_rows) {
    const int step = width % BEND_STEP == 0 ? BEND_STEP : 1, per_row = width / step;
    const u64 index = (u64)blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= n_rows * per_row) return;
    const int column = index % per_row * step;
    const bf16 *gates = in + index / per_row * (is_gated ? 2 * width : width) + column;
    bf16 *to = out + index / per_row * width + column;
    __align__(16) bf16 a[BEND_STEP], b[BEND_STEP];
    if (step == BEND_STEP) {
        *(uint4 *)a = *(const uint4 *)gates;
        if (is_gated) *(uint4 *)b = *(const uint4 *)(gates + width);
    } else {
        a[0] = gates[0];
        if (is_gated) b[0] = gates[width];
    }
#pragma unroll
    for (int i = 0; i < BEND_STEP; i++) {
        if (i >= step) break;
        float x = widen(a[i]) + (bias ? bias[column + i] : 0.0f);
        x = bend_one(x, activation);
        if (is_gated) x *= widen(b[i]) + (bias ? bias[width + column + i] : 0.0f);
        a[i] = narrow(x);
    }
    if (step == BEND_STEP) *(uint4 *)to = *(uint4 *)a;
    else to[0] = a[0];
}

// ---------------------------------------------------------------------------------------------
// Losses
// ---------------------------------------------------------------------------------------------

// A block for each row of logits: the negative log-likelihood of its target.
extern "C" __global__ void cross_entropy(const float *logits, const u32 *targets, const float *bias,
                                         float cap, float *nats, int vocabulary, int stride) {
    __shared__ float space[WARP];
    __shared__ float greatest[WARP];
    const float *row = logits + (u64)blockIdx.x * stride;
    float most = -INFINITY_F, sum = 0.0f;
    for (int i = threadIdx.x; i < vocabulary; i += blockDim.x) {
        float x = row[i] + (bias ? bias[i] : 0.0f);
        if (cap > 0.0f) x = cap * tanhf(x / cap);
        // A NaN goes on: no comparison hides it.
        if (!(x <= most)) {
            sum *= exp2f((most - x) * LOG2_E);
            most = x;
        }
        sum += exp2f((x - most) * LOG2_E);
    }
    float all = most;
    for (int step = WARP / 2; step > 0; step /= 2) {
        all = fmaxf(all, __shfl_xor_sync(~0u, all, step));
    }
    if (threadIdx.x % WARP == 0) greatest[threadIdx.x / WARP] = all;
    __syncthreads();
    for (int i = 0; i < blockDim.x / WARP; i++) all = fmaxf(all, greatest[i]);
    // A thread without logits has a sum of zero, which must not meet an infinite exponent.
    sum = block_sum(sum == 0.0f ? 0.0f : sum * exp2f((most - all) * LOG2_E), space);
    if (threadIdx.x == 0) {
        const u32 target = targets[blockIdx.x];
        float x = row[target] + (bias ? bias[target] : 0.0f);
        if (cap > 0.0f) x = cap * tanhf(x / cap);
        nats[blockIdx.x] = all + logf(sum) - x;
    }
}

// ---------------------------------------------------------------------------------------------
// Attention
// ---------------------------------------------------------------------------------------------

// Numbers of a head, filled up with zeros to whole tiles of the tensor cores.
#define DEPTH ((HEAD_SIZE + 15) / 16 * 16)
// A row of keys or values in shared memory; the extra numbers spread rows over its banks.
#define PITCH (DEPTH + 8)
#define N_WARPS 4
#define N_QUERIES (16 * N_WARPS)
#define N_KEYS 64
#define IS_ALIGNED (HEAD_SIZE % 8 == 0)

// Queries of one sequence that a block takes.
struct Block {
    int first_row;  // of the sequence among all rows
    int n_rows;     // of the sequence
    int first_query;
    int unused;
};

DEVICE u32 shared_address(const void *at) { return (u32)__cvta_generic_to_shared(at); }

DEVICE void load_matrices(u32 *to, const bf16 *at) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(shared_address(at)));
}

DEVICE void load_matrices_transposed(u32 *to, const bf16 *at) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(shared_address(at)));
}

// `sums += a b`, sixteen rows by eight columns over a depth of sixteen.
DEVICE void multiply(float *sums, const u32 *a, const u32 *b) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Starts to copy up to `N_KEYS` rows of a head to shared memory; rows from `n_rows` on are zeros.
DEVICE void fetch(bf16 *to, const bf16 *from, u64 stride, int first, int n_rows) {
#if IS_ALIGNED
    const int per_row = DEPTH / 8;
    for (int i = threadIdx.x; i < N_KEYS * per_row; i += N_WARPS * WARP) {
        const int row = i / per_row, column = i % per_row * 8;
        const bool is_there = first + row < n_rows && column < HEAD_SIZE;
        const bf16 *at = is_there ? from + (u64)(first + row) * stride + column : from;
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                     :: "r"(shared_address(to + row * PITCH + column)), "l"(at),
                        "r"(is_there ? 16 : 0));
    }
#else
    for (int i = threadIdx.x; i < N_KEYS * DEPTH; i += N_WARPS * WARP) {
        const int row = i / DEPTH, column = i % DEPTH;
        const bool is_there = first + row < n_rows && column < HEAD_SIZE;
        to[row * PITCH + column] = is_there ? from[(u64)(first + row) * stride + column] : 0;
    }
#endif
}

DEVICE void commit() { asm volatile("cp.async.commit_group;"); }
DEVICE void wait_for_all_but_newest() { asm volatile("cp.async.wait_group 1;"); }
DEVICE void wait_for_all() { asm volatile("cp.async.wait_group 0;"); }

// Attention of `N_QUERIES` neighbouring queries of one sequence and head, over the keys that they
// may look at: those up to themselves, or the last `window` of these. The softmax is kept up to
// date block by block of keys, so that no matrix of scores exists (Dao et al. 2022). What is
// gathered replaces the queries, which nobody else reads.
extern "C" __global__ void __launch_bounds__(N_WARPS * WARP)
attend(bf16 *rows, int stride, const Block *blocks, int n_heads, int n_sharing, float scale,
       float cap, int window) {
    extern __shared__ __align__(16) bf16 shared[];
    bf16 *keys = shared, *values = shared + N_KEYS * PITCH;
    const Block block = blocks[blockIdx.x];
    const int head = blockIdx.y, warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    const int kv_head = head / n_sharing, n_kv_heads = n_heads / n_sharing;
    bf16 *sequence = rows + (u64)block.first_row * stride;
    bf16 *queries = sequence + head * HEAD_SIZE;
    const bf16 *all_keys = sequence + (n_heads + kv_head) * HEAD_SIZE;
    const bf16 *all_values = all_keys + n_kv_heads * HEAD_SIZE;
    const int corner_row = lane % 8 + lane / 8 % 2 * 8, corner_column = lane / 16 * 8;

    u32 query[DEPTH / 16][4];
    fetch(keys, queries, stride, block.first_query, block.n_rows);
    commit();
    wait_for_all();
    __syncthreads();
#pragma unroll
    for (int i = 0; i < DEPTH / 16; i++) {
        load_matrices(query[i], keys + (warp * 16 + corner_row) * PITCH + i * 16 + corner_column);
    }
    __syncthreads();

    float sums[DEPTH / 8][4] = {};
    // Of the two rows that a thread has a part of.
    float greatest[2] = {-INFINITY_F, -INFINITY_F}, total[2] = {0.0f, 0.0f};
    const int last = min(block.first_query + N_QUERIES, block.n_rows);
    const int seen_first = max(0, block.first_query - window + 1) / N_KEYS * N_KEYS;
    fetch(keys, all_keys, stride, seen_first, block.n_rows);
    commit();
    for (int first = seen_first; first < last; first += N_KEYS) {
        fetch(values, all_values, stride, first, block.n_rows);
        commit();
        wait_for_all_but_newest();
        __syncthreads();

        float scores[N_KEYS / 8][4] = {};
#pragma unroll
        for (int i = 0; i < DEPTH / 16; i++) {
#pragma unroll
            for (int n = 0; n < N_KEYS / 16; n++) {
                u32 part[4];
                load_matrices(part, keys + (n * 16 + lane % 8 + lane / 16 * 8) * PITCH + i * 16 +
                                        lane / 8 % 2 * 8);
                multiply(scores[2 * n], query[i], part);
                multiply(scores[2 * n + 1], query[i], part + 2);
            }
        }
        __syncthreads();
        if (first + N_KEYS < last) fetch(keys, all_keys, stride, first + N_KEYS, block.n_rows);
        commit();

        const int query_row = block.first_query + warp * 16 + lane / 4;
        float most[2] = {greatest[0], greatest[1]};
#pragma unroll
        for (int n = 0; n < N_KEYS / 8; n++) {
#pragma unroll
            for (int c = 0; c < 4; c++) {
                const int key = first + n * 8 + lane % 4 * 2 + c % 2;
                const int place = query_row + c / 2 * 8;
                float score = scores[n][c] * scale;
                if (cap > 0.0f) score = cap * tanhf(score / cap);
                const bool is_seen = key <= place && place - key < window;
                scores[n][c] = is_seen ? score * LOG2_E : -INFINITY_F;
                most[c / 2] = fmaxf(most[c / 2], scores[n][c]);
            }
        }
        float keep[2], base[2];
#pragma unroll
        for (int half = 0; half < 2; half++) {
            most[half] = fmaxf(most[half], __shfl_xor_sync(~0u, most[half], 1));
            most[half] = fmaxf(most[half], __shfl_xor_sync(~0u, most[half], 2));
            // A row that has not seen anything yet has no greatest score to take off.
            base[half] = most[half] == -INFINITY_F ? 0.0f : most[half];
            keep[half] = exp2f(greatest[half] - base[half]);
            greatest[half] = most[half];
            total[half] *= keep[half];
        }
#pragma unroll
        for (int n = 0; n < N_KEYS / 8; n++) {
#pragma unroll
            for (int c = 0; c < 4; c++) {
                scores[n][c] = exp2f(scores[n][c] - base[c / 2]);
                total[c / 2] += scores[n][c];
            }
        }
#pragma unroll
        for (int i = 0; i < DEPTH / 8; i++) {
#pragma unroll
            for (int c = 0; c < 4; c++) sums[i][c] *= keep[c / 2];
        }
        wait_for_all_but_newest();
        __syncthreads();
#pragma unroll
        for (int n = 0; n < N_KEYS / 16; n++) {
            const u32 shares[4] = {
                pack(scores[2 * n][0], scores[2 * n][1]),
                pack(scores[2 * n][2], scores[2 * n][3]),
                pack(scores[2 * n + 1][0], scores[2 * n + 1][1]),
                pack(scores[2 * n + 1][2], scores[2 * n + 1][3]),
            };
#pragma unroll
            for (int i = 0; i < DEPTH / 16; i++) {
                u32 part[4];
                load_matrices_transposed(
                    part, values + (n * 16 + corner_row) * PITCH + i * 16 + corner_column);
                multiply(sums[2 * i], shares, part);
                multiply(sums[2 * i + 1], shares, part + 2);
            }
        }
        __syncthreads();
    }

#pragma unroll
    for (int half = 0; half < 2; half++) {
        total[half] += __shfl_xor_sync(~0u, total[half], 1);
        total[half] += __shfl_xor_sync(~0u, total[half], 2);
        const int place = block.first_query + warp * 16 + lane / 4 + half * 8;
        if (place >= block.n_rows) continue;
        bf16 *out = queries + (u64)place * stride;
        const float share = 1.0f / total[half];
#pragma unroll
        for (int i = 0; i < DEPTH / 8; i++) {
            const int column = i * 8 + lane % 4 * 2;
            const u32 both = pack(sums[i][2 * half] * share, sums[i][2 * half + 1] * share);
            if (column < HEAD_SIZE) out[column] = (bf16)both;
            if (column + 1 < HEAD_SIZE) out[column + 1] = (bf16)(both >> 16);
        }
    }
}
