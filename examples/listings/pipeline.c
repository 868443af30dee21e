/*
 * A pipeline: raw data is put, preprocessed, trained on, evaluated. Each stage takes the ref of the
 * one before; the driver never sees the data, only the score at the end.
 *
 * The data are rows of FEATURES columns and what a hidden plane through them gives, with noise;
 * preprocessing makes each column's mean 0 and deviation 1, training is gradient descent, and the
 * score is the part of the variance that the model explains on rows it has not seen.
 */
#include <manta/manta.h>
#include <math.h>
#include <stdio.h>

enum { ROWS = 20000, TEST_ROWS = 5000, FEATURES = 8, COLUMNS = FEATURES + 1 };

struct config {
    double rate;
    int32_t steps;
};

struct model {
    double weight[FEATURES], bias;
};

static manta_ref put_raw(uint64_t seed)
{
    const manta_ref none = {0};
    manta_rng rng = manta_rng_stream(seed, 0);
    manta_room room;
    double *row = manta_put_alloc(double, &room, ROWS, COLUMNS);
    if (!row) {
        return none;
    }
    for (int i = 0; i < ROWS; i++, row += COLUMNS) {
        row[FEATURES] = 3 + 0.5 * manta_rng_normal(&rng);
        for (int k = 0; k < FEATURES; k++) {
            row[k] = 10 * k + (k + 1) * manta_rng_normal(&rng);
            row[FEATURES] += (k % 3 - 1) * row[k];
        }
    }
    return manta_put_end(room);
}

MANTA_TASK(preprocess, in(double, raw), outv(double, clean))
{
    manta_layout layout;
    MANTA_TRY(manta_layout_of(raw, &layout));
    uint64_t rows = layout.shape[0], columns = layout.shape[1];
    double *x = manta_outv_array(double, clean, rows, columns);
    if (!x) {
        return manta_fail(manta_last_error()->code, "%s", manta_last_error()->text);
    }
    for (uint64_t k = 0; k < columns; k++) {
        double sum = 0, squares = 0;
        for (uint64_t i = 0; i < rows; i++) {
            double value = raw[i * columns + k];
            sum += value;
            squares += value * value;
        }
        double middle = sum / (double)rows;
        double deviation = sqrt(squares / (double)rows - middle * middle);
        for (uint64_t i = 0; i < rows; i++) {
            x[i * columns + k] = (raw[i * columns + k] - middle) / deviation;
        }
    }
    return MANTA_OK;
}

static double predict(const struct model *model, const double *row)
{
    double sum = model->bias;
    for (int k = 0; k < FEATURES; k++) {
        sum += model->weight[k] * row[k];
    }
    return sum;
}

MANTA_TASK(train, in(double, clean), val(struct config, config), out(struct model, model))
{
    const int rows = ROWS - TEST_ROWS;
    for (int32_t step = 0; step < config.steps; step++) {
        struct model slope = {{0}, 0};
        const double *row = clean;
        for (int i = 0; i < rows; i++, row += COLUMNS) {
            double wrong = predict(model, row) - row[FEATURES];
            for (int k = 0; k < FEATURES; k++) {
                slope.weight[k] += wrong * row[k] / rows;
            }
            slope.bias += wrong / rows;
        }
        for (int k = 0; k < FEATURES; k++) {
            model->weight[k] -= config.rate * slope.weight[k];
        }
        model->bias -= config.rate * slope.bias;
    }
    return MANTA_OK;
}

MANTA_TASK(evaluate, in(struct model, model), in(double, clean), out(double, score))
{
    double wrong = 0, sum = 0, squares = 0;
    const double *row = clean + (ROWS - TEST_ROWS) * COLUMNS;
    for (int i = 0; i < TEST_ROWS; i++, row += COLUMNS) {
        double target = row[FEATURES], off = predict(model, row) - target;
        wrong += off * off;
        sum += target;
        squares += target * target;
    }
    *score = 1 - wrong / (squares - sum * sum / TEST_ROWS);
    return MANTA_OK;
}

static int driver(int argc, char **argv)
{
    const struct config config = {.rate = 0.3, .steps = 40};
    double score;
    manta_ref raw = put_raw(7);
    manta_ref clean = preprocess_async(NULL, raw);
    manta_ref model = train_async(NULL, clean, config);
    MANTA_TRY(evaluate_get(evaluate_async(NULL, model, clean), &score));
    printf("score: %.6f\n", score);
    return MANTA_OK;
}

int main(int argc, char **argv)
{
    return manta_run(argc, argv, driver);
}
