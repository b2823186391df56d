package main

import (
	"fmt"
	"os"
	"sort"

	"example.org/wc/internal/words"
)

func main() {
	c, err := words.Of(os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, "wc:", err)
		os.Exit(1)
	}
	all := make([]string, 0, len(c.Each))
	for w := range c.Each {
		all = append(all, w)
	}
	sort.Strings(all)
	fmt.Println(c.Lines, c.Words, c.Bytes)
	for _, w := range all {
		fmt.Println(c.Each[w], w)
	}
}
