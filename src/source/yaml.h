/* yaml.h: inside src/source only: YAML text to a small tree that knows where everything stands. Pure.
 *
 * Hostile text is bounded while it is read, before anything is built from it: one document, at most YAML_DEPTH levels and
 * YAML_NODES nodes, no anchors, aliases, tags or merge keys, no duplicate keys, keys are plain or quoted words. Errors read
 * "FILE:LINE:COLUMN: what (what is allowed)".
 */
#ifndef ASSAY_SOURCE_YAML_H
#define ASSAY_SOURCE_YAML_H

#include "base/bytes.h"

#define YAML_DEPTH 8u
#define YAML_NODES 16384u

enum node_kind { NODE_SCALAR, NODE_LIST, NODE_MAP };

struct node {
    enum node_kind kind;
    unsigned line, column;   /* from 1 */
    char *text;              /* scalar: its value, NUL-terminated, no NUL inside */
    bool plain;              /* scalar: written without quotes or block style */
    char **keys;             /* map: n names; where each stands is in key_at */
    struct node *key_at;     /* map: n nodes of which only line and column are used */
    struct node **items;     /* list and map: n values */
    size_t n, cap;
};

int yaml_parse (struct bytes text, const char *file, struct node **root, struct err *e);
void node_destroy (struct node **n);
const struct node *node_get (const struct node *map, const char *key); /* NULL where absent */

#endif
