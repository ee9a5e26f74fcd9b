/* The only file of the image godtest/scratch:1: one static program, no shell, no libraries.
 *
 * It shows what a job sees (arguments and GODOCKER_JID on standard output, a file `ran` in the working directory)
 * and exits as asked: with its first argument when that is a number, else with the number on the second line of the
 * file its first argument names. So it serves as a command (`/prog 7`) and as the interpreter of a script
 * (`#!/prog`, then `7`). 99: the file could not be written. 98: the script could not be read.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

static int status_from_script(const char *path) {
    char text[4096];
    FILE *script = fopen(path, "r");
    if (!script || !fgets(text, sizeof text, script)) {
        perror(path);
        return 98;
    }
    int status = fgets(text, sizeof text, script) ? atoi(text) : 0;
    fclose(script);
    return status;
}

int main(int argc, char **argv) {
    const char *job = getenv("GODOCKER_JID");
    for (int i = 0; i < argc; i++)
        printf("arg%d=%s\n", i, argv[i]);
    printf("GODOCKER_JID=%s\n", job ? job : "");
    fflush(stdout);

    FILE *ran = fopen("ran", "w");
    if (!ran || fprintf(ran, "%s\n", job ? job : "") < 0 || fclose(ran) != 0) {
        perror("ran");
        return 99;
    }
    if (argc < 2)
        return 0;
    if (isdigit((unsigned char)argv[1][0]))
        return atoi(argv[1]);
    return status_from_script(argv[1]);
}
