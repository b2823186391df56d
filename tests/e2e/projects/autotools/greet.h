void greet (void);
