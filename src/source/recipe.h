/* recipe.h: `.assay.yml`: parse (libyaml events), check against one table of keys, expand. Pure.
 *
 * Errors read "FILE:LINE:COLUMN: what (what is allowed)", kind ERR_USAGE. Aliases are refused; size at most 256 KiB.
 * The result is a list of expanded steps as in messages.def `step` (matrix, environment and defaults applied), which
 * borrow from the recipe until recipe_destroy().
 */
#ifndef ASSAY_SOURCE_RECIPE_H
#define ASSAY_SOURCE_RECIPE_H

#include "proto/msg.h"

#define RECIPE_FILE ".assay.yml"
#define RECIPE_MAX (256u << 10)

struct recipe;
int recipe_parse (struct bytes text, const char *file, struct recipe **r, struct err *e);
void recipe_destroy (struct recipe **r);
size_t recipe_steps (const struct recipe *r);
const struct msg_step *recipe_step (const struct recipe *r, size_t i);

#endif
