module example.org/wc

go 1.19
