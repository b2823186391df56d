#include <stdio.h>

#include "config.h"
#include "greet.h"

void greet (void)
{
    puts ("hello, world, of " __FILE__ " on " __DATE__ " at " __TIME__ " with " PACKAGE_STRING);
}
